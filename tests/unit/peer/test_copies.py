"""Which chunks were sent to how many: only as long as somebody fetches, and only where several do."""

from __future__ import annotations

from napd.model import ContentId
from napd.peer.serve.copies import MAX_COUNTED, Copies

FILE = ContentId("f" * 64)


def sent(*chunks: int, fetchers: int = 2) -> Copies:
    copies = Copies()
    for _ in range(fetchers):
        copies.begins(FILE)
    for chunk in chunks:
        copies.sends(FILE, chunk)
    return copies


def test_what_was_sent_to_the_fewest_comes_first_and_of_several_the_first() -> None:
    copies = sent(3, 3, 4, 5)
    assert copies.fewest(FILE, [3, 4, 5]) == 1
    assert copies.fewest(FILE, [3, 8, 9]) == 1
    assert copies.fewest(FILE, [9, 8]) == 0


def test_who_fetches_alone_gets_what_he_asked_for_first() -> None:
    assert sent(3, fetchers=1).fewest(FILE, [3, 4]) == 0


def test_it_is_forgotten_with_the_last_who_fetches() -> None:
    copies = sent(3)
    copies.ends(FILE)
    assert copies.fewest(FILE, [3, 4]) == 0
    copies.ends(FILE)
    for _ in range(2):
        copies.begins(FILE)
    assert copies.fewest(FILE, [3, 4]) == 0


def test_what_is_unknown_or_far_behind_is_not_counted() -> None:
    copies = sent(MAX_COUNTED + 1)
    assert copies.fewest(FILE, [MAX_COUNTED + 1, MAX_COUNTED + 2]) == 0
    copies.sends(ContentId("e" * 64), 1)
    assert copies.fewest(ContentId("e" * 64), [1, 2]) == 0
