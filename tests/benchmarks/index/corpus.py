"""A community that never was: its peers, what each of them announces, and what is searched for. Seeded.

::

    python -m tests.benchmarks.index.corpus FOLDER HOLDINGS NEWCOMERS

Shares are log-normal in size, the largest of 10 million holdings some 60,000 files. What is in them is of two sorts: a
seventh that nobody else has, the rest drawn from a pool in which few files are common and most are not, so that
10 million holdings are some 3.9 million items. Names are words by Zipf's law, in three scripts. A fifth of the items is
another name of a content that there is already. Recordings and films have a duration and a bit rate.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from attrs import asdict, define, field, frozen
from numpy.typing import NDArray

from napd.wire.catalogue import Entry, Media, entry_digest

from .queries import Word, queries
from .vocabulary import SCRIPTS, words_of

EPOCH = "e" * 64
#: Files of a share: the median, the spread of their logarithm, the most.
MEAN_SHARE = 1950
SHARE_SIGMA = 1.08
LARGEST_SHARE = 60_000
#: Of a share's files, those that nobody else has; of the pool's, how many there are for each holding.
ALONE = 0.15
POOL = 0.3
#: Files of the share that is connected and disconnected.
REGULAR_FILES = 2000
#: Files of those who come when everybody else is there, and how many of them nobody had before.
NEWCOMER_FILES = (1000, 4000)
NEW = 0.3
#: Items in a row that lie in one folder.
ALBUM = 10
NAME_WORDS = 5
#: Bytes of an announce's entries; a line has at most 64 KiB.
STEP_BYTES = 60_000

#: Extension, kind, share of the items, median size, spread of its logarithm.
_FILES = (
    ("mp3", "audio", 0.38, 7e6, 0.6), ("flac", "audio", 0.08, 3e7, 0.5), ("ogg", "audio", 0.04, 6e6, 0.6),
    ("m4a", "audio", 0.04, 8e6, 0.6), ("mkv", "video", 0.08, 9e8, 0.9), ("mp4", "video", 0.08, 4e8, 1.1),
    ("avi", "video", 0.04, 7e8, 0.4), ("jpg", "image", 0.1, 2e6, 0.8), ("png", "image", 0.03, 1e6, 1.0),
    ("pdf", "document", 0.06, 3e6, 1.2), ("epub", "document", 0.03, 8e5, 0.8), ("zip", "archive", 0.02, 2e7, 1.6),
    ("iso", "archive", 0.01, 1e9, 0.9), ("txt", "document", 0.01, 2e4, 1.5),
)  # fmt: skip
_BITRATES = np.array([128, 160, 192, 256, 320])

Items = NDArray[np.int64]


@frozen
class Share:
    """What one peer announces.

    :ivar offset: of its announces in `announces.bin`; they have `length` bytes, one line each.
    :ivar revision: after the last of them, and so how many there are.
    """

    user: str
    offset: int
    length: int
    revision: int
    listings: int
    bytes: int
    digest: str


@frozen
class Corpus:
    """What was written, read again. :ivar queries: by class: what is typed, and options of a search."""

    folder: Path
    figures: dict[str, int]
    members: tuple[Share, ...]
    newcomers: tuple[Share, ...]
    regular: Share
    queries: dict[str, list[tuple[str, dict[str, Any]]]]

    @classmethod
    def read(cls, folder: Path) -> Corpus:
        document = json.loads((folder / "corpus.json").read_text())
        return cls(
            folder,
            document["figures"],
            tuple(Share(**one) for one in document["members"]),
            tuple(Share(**one) for one in document["newcomers"]),
            Share(**document["regular"]),
            {name: [(text, options) for text, options in asked] for name, asked in document["queries"].items()},
        )

    def announces(self, share: Share) -> list[bytes]:
        """Its lines, without their ends."""
        with (self.folder / "announces.bin").open("rb") as file:
            file.seek(share.offset)
            return file.read(share.length).splitlines()

    def everybody(self) -> Iterator[Share]:
        yield from self.members
        yield self.regular


@define
class _Shares:
    """Draws shares: numbers of items, those of the pool first. `taken`: how many are taken that nobody else has."""

    rng: np.random.Generator
    pool: int
    peers: int
    taken: int = 0

    def draw(self, size: int, alone: float) -> Items:
        own = round(size * alone)
        found = np.empty(0, np.int64)
        while len(found) < size - own:
            found = np.unique(np.concatenate([found, self._popular(size - own - len(found))]))
        mine = np.arange(self.pool + self.taken, self.pool + self.taken + own)
        self.taken += own
        return np.concatenate([found, mine])

    def _popular(self, count: int) -> Items:
        """The most common item is with a fifth of the peers; how common the n-th is falls with n to the power 2/3."""
        start = (0.28 / (0.2 / MEAN_SHARE) / self.pool ** (1 / 3)) ** 1.5
        low, high = start ** (1 / 3), (self.pool + start) ** (1 / 3)
        drawn = (low + self.rng.random(count) * (high - low)) ** 3 - start
        return np.clip(drawn, 0, self.pool - 1).astype(np.int64)


@define
class _Made:
    """Entries as they travel, their digests, contents and sizes, by item; and what they can be searched for by."""

    entries: dict[int, bytes] = field(factory=dict)
    digests: dict[int, int] = field(factory=dict)
    sizes: dict[int, int] = field(factory=dict)
    known: list[Sequence[str]] = field(factory=list)
    words: dict[str, Word] = field(factory=dict)
    contents: Items = field(factory=lambda: np.empty(0, np.int64))


def write(folder: Path, holdings: int, newcomers: int) -> None:
    """:param newcomers: holdings of those who come later."""
    rng = np.random.default_rng(1)
    pool = max(REGULAR_FILES, int(POOL * holdings))
    shares = _Shares(rng, pool, max(1, holdings // MEAN_SHARE))
    members = [shares.draw(size, ALONE) for size in _sizes(rng, holdings, pool)]
    regular = shares.draw(min(REGULAR_FILES, pool // 2), ALONE)
    late = []
    while (missing := newcomers - sum(map(len, late))) > 0:
        low, high = (min(bound, pool // 4) for bound in NEWCOMER_FILES)
        late.append(shares.draw(min(missing, int(rng.integers(low, high + 1))), NEW))
    made = _make(rng, np.unique(np.concatenate([*members, regular, *late])), pool + shares.taken)
    with (folder / "announces.bin").open("wb") as file:
        rows = [_announce(file, f"member{number}", share, made) for number, share in enumerate(members)]
        one = _announce(file, "regular", regular, made)
        others = [_announce(file, f"newcomer{number}", share, made) for number, share in enumerate(late)]
    there = np.unique(np.concatenate([*members, regular]))
    document = {
        "figures": {
            "holdings": sum(map(len, members)) + len(regular),
            "items": len(there),
            "contents": len(np.unique(made.contents[there])),
            "terms": len(made.words),
            "peers": len(members) + 1,
            "largest_share": max(map(len, [*members, regular])),
        },
        "members": [asdict(share) for share in rows],
        "regular": asdict(one),
        "newcomers": [asdict(share) for share in others],
        "queries": queries(list(made.words.values()), made.known, len(there)),
    }
    (folder / "corpus.json").write_text(json.dumps(document))


def _sizes(rng: np.random.Generator, holdings: int, pool: int) -> Iterator[int]:
    median = MEAN_SHARE / np.exp(SHARE_SIGMA**2 / 2)
    left = holdings - REGULAR_FILES
    while left > 0:
        size = min(int(rng.lognormal(np.log(median), SHARE_SIGMA)) + 1, LARGEST_SHARE, pool // 2, left)
        yield size
        left -= size


def _make(rng: np.random.Generator, held: Items, items: int) -> _Made:
    """The entries of all items that somebody has."""
    made = _Made()
    kinds = rng.choice(len(_FILES), items, p=np.array([row[2] for row in _FILES]) / sum(row[2] for row in _FILES))
    sizes = np.exp(rng.normal(0, 1, items) * np.array([row[4] for row in _FILES])[kinds])
    sizes = (sizes * np.array([row[3] for row in _FILES])[kinds]).astype(np.int64) + 1
    durations = rng.integers(90_000, 420_000, items)
    bitrates = _BITRATES[rng.integers(0, len(_BITRATES), items)]
    others = held[rng.integers(0, len(held), items)]
    contents = np.where(rng.random(items) < 0.8, np.arange(items), others)
    vocabularies = [words_of(script, items) for script in SCRIPTS]
    scripts = rng.choice(len(SCRIPTS), items // ALBUM + 1, p=[script.part for script in SCRIPTS])
    albums = [vocabulary.draw(rng, items // ALBUM + 1, 4) for vocabulary in vocabularies]
    names = [vocabulary.draw(rng, items, NAME_WORDS) for vocabulary in vocabularies]
    made.contents = contents
    encode = msgspec.json.Encoder().encode
    for item in held.tolist():
        album = item // ALBUM
        script = scripts[album]
        words = [vocabularies[script].words[place] for place in names[script][item]]
        above = [vocabularies[script].words[place] for place in albums[script][album]]
        extension, kind, *_ = _FILES[kinds[item]]
        size = int(sizes[item])
        entry = Entry(
            content=hashlib.sha256(b"%d" % contents[item]).hexdigest(),
            size=size,
            folder=f"Shared/{above[0]} {above[1]}/{above[2]} {above[3]}",
            name=f"{item % ALBUM + 1:02} {words[0]} {words[1]} - {' '.join(words[2:])}.{extension}",
            media=_media(kind, size, int(durations[item]), int(bitrates[item])),
        )
        made.entries[item] = encode(entry)
        made.digests[item] = int.from_bytes(entry_digest(entry), "little")
        made.sizes[item] = size
        for word in {*words, *above, extension}:
            made.words.setdefault(word, Word(word)).items += 1
        if item % 97 == 0:
            made.known.append(words)
    return made


def _media(kind: str, size: int, duration_ms: int, bitrate_kbps: int) -> Media:
    if kind == "audio":
        return Media(duration_s=duration_ms / 1000, bitrate_kbps=bitrate_kbps)
    if kind == "video":
        return Media(duration_s=float(duration_ms // 60), bitrate_kbps=size * 8 // (duration_ms // 60) // 1000)
    return Media()


def _announce(file: BinaryIO, user: str, share: Items, made: _Made) -> Share:
    """Write the announces of a share."""
    items = share.tolist()
    total = sum(made.digests[item] for item in items) % (1 << 256)
    digest = f"{total:064x}"
    offset = file.tell()
    steps = list(_steps([made.entries[item] for item in items]))
    for base, entries in enumerate(steps):
        head = f'{{"t":"announce","epoch":"{EPOCH}","base":{base},"revision":{base + 1},'
        reset = '"reset":true,' if base == 0 else ""
        last = f'"digest":"{digest}",' if base == len(steps) - 1 else ""
        file.write(f'{head}{reset}{last}"add":['.encode() + b",".join(entries) + b"]}\n")
    size = sum(made.sizes[item] for item in items)
    return Share(user, offset, file.tell() - offset, len(steps), len(items), size, digest)


def _steps(entries: Sequence[bytes]) -> Iterator[list[bytes]]:
    step: list[bytes] = []
    room = STEP_BYTES
    for entry in entries:
        if step and (len(entry) + 1 > room or len(step) == 500):
            yield step
            step, room = [], STEP_BYTES
        step.append(entry)
        room -= len(entry) + 1
    yield step


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
