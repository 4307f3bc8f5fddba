"""The catalogue's digest: free of order, updated by the change alone, and different for any other set."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napd.wire.catalogue import CatalogueDigest, Entry, Media, catalogue_digest, entry_digest

PLAIN = Entry(content="0" * 63 + "1", size=5242880, folder="Music/Album", name="song.mp3")


def entry(**changes: Any) -> Entry:
    return msgspec.structs.replace(PLAIN, **changes)


def test_the_definition_has_not_changed() -> None:
    full = entry(name="søng.mp3", audience=("staff", "@a1"), media=Media(duration_s=215.5, bitrate_kbps=320))
    assert entry_digest(full).hex() == "803bd59742acacb4a5af66d1476db527a88ad06cf0e8573eff060be11a7099b9"
    # The sum takes each digest as a little-endian number and is shown with its highest digit first.
    assert catalogue_digest([full]) == entry_digest(full)[::-1].hex()


def test_an_empty_catalogue_has_zeros_for_a_digest() -> None:
    assert catalogue_digest([]) == "0" * 64


@pytest.mark.parametrize(
    "changes",
    [
        {"content": "f" * 64},
        {"size": 5242881},
        {"folder": "Music"},
        {"name": "song.mp4"},
        {"audience": ("staff",)},
        {"audience": ("everyone", "staff")},
        {"media": Media(duration_s=0.0)},
        {"media": Media(bitrate_kbps=1)},
        {"media": Media(width=1)},
        {"media": Media(height=1)},
        # Each field has its length before it, so nothing can slip from one into the next.
        {"folder": "Music/Albums", "name": "ong.mp3"},
        {"folder": "Music/Albu", "name": "msong.mp3"},
    ],
)
def test_every_field_counts(changes: dict[str, Any]) -> None:
    assert entry_digest(entry(**changes)) != entry_digest(PLAIN)


def test_the_order_of_an_audience_does_not_count() -> None:
    assert entry_digest(entry(audience=("a", "b"))) == entry_digest(entry(audience=("b", "a")))


def test_durations_count_to_the_millisecond_so_that_json_cannot_change_them() -> None:
    said = entry(media=Media(duration_s=0.1 + 0.2))
    heard = msgspec.json.decode(msgspec.json.encode(said), type=Entry)
    assert entry_digest(heard) == entry_digest(said) == entry_digest(entry(media=Media(duration_s=0.3)))


entries = st.builds(lambda n: entry(content=f"{n:064x}", name=f"{n}.mp3"), st.integers(0, 40))


@settings(deadline=None)
@given(st.lists(entries, unique_by=lambda e: e.content), st.randoms(use_true_random=False))
def test_the_digest_is_free_of_order(listed: list[Entry], rng: Random) -> None:
    shuffled = list(listed)
    rng.shuffle(shuffled)
    assert catalogue_digest(shuffled) == catalogue_digest(listed)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), entries), max_size=60))
def test_the_running_digest_is_that_of_the_set(changes: list[tuple[bool, Entry]]) -> None:
    held: dict[str, Entry] = {}
    digest = CatalogueDigest()
    for add, one in changes:
        if add and one.content not in held:
            held[one.content] = one
            digest.add(entry_digest(one))
        elif not add and one.content in held:
            digest.remove(entry_digest(held.pop(one.content)))
    assert digest.hex() == catalogue_digest(held.values())
    assert CatalogueDigest(digest.hex()).hex() == digest.hex()
