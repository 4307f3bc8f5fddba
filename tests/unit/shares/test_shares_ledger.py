"""The rules of the books: what is listed, what is hashed when, what is believed. Files and clock are invented."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from attrs import define, field

from napd.content.digest import CHUNK_BYTES, chunk_digest
from napd.model import ContentId
from napd.ops.database import open_database
from napd.peer.shares.cache import KEPT_S, RESTLESS
from napd.peer.shares.hasher import LARGE, SMALL
from napd.peer.shares.hashing import PART_CHUNKS, Changed, Failed, Hashed, Work
from napd.peer.shares.ledger import Ledger
from napd.peer.shares.records import ShareCounts
from napd.peer.shares.schema import SCHEMA
from napd.peer.shares.walk import Bitmap, Found
from tests.support.sharing import content_of

NOW = 1_000_000.0
OLD = NOW - 1000


def status(size: int = 1, *, inode: int = 1, mtime: float = OLD, ctime: float = OLD, device: int = 1) -> os.stat_result:
    return os.stat_result(
        (0o100644, inode, device, 1, 0, 0, size, 0, int(mtime), int(ctime)),
        {"st_mtime": mtime, "st_ctime": ctime, "st_mtime_ns": int(mtime * 1e9), "st_ctime_ns": int(ctime * 1e9)},
    )


def digests_of(data: bytes) -> bytes:
    return b"".join(chunk_digest(data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES))


@define
class Books:
    """A ledger with one share, and hands to write in it."""

    path: Path
    now: float = NOW
    ledger: Ledger = field(init=False)
    share: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reopen()
        self.share = self.ledger.add_share("music", b"/srv/music", ("everyone",)).id

    def reopen(self) -> None:
        self.ledger = Ledger(open_database(self.path, SCHEMA, synchronous="OFF"), Random(3))

    def see(self, name: str, seen: os.stat_result, *, closed: bool = False) -> None:
        folder, _, last = name.encode().rpartition(b"/")
        self.ledger.take(self.share, [Found(folder, last, seen, closed)], [], self.now)

    def work(self, sizes: tuple[int, int] = SMALL) -> list[Work]:
        return self.ledger.work(sizes, 100, self.now)

    def hash(self, data: bytes, *, doubtful: int = 0, sizes: tuple[int, int] = SMALL) -> None:
        """Do the one piece of work there is, on a file with these bytes."""
        (work,) = self.work(sizes)
        part = digests_of(data)[work.first * 32 : (work.first + work.count) * 32]
        self.ledger.store([Hashed(work, part, doubtful, self.now + 2)], self.now)

    @property
    def listed(self) -> ShareCounts:
        return self.ledger.snapshot.shares[self.share]

    @property
    def revision(self) -> int:
        return self.ledger.snapshot.position.revision

    def is_listed(self, data: bytes) -> bool:
        try:
            return self.ledger.outline(ContentId(content_of(data)))[0] == len(data)
        except LookupError:
            return False


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path / "shares.sqlite")


def test_a_file_is_listed_when_it_is_hashed(books: Books) -> None:
    books.see("sub/a", status())
    assert books.listed == ShareCounts(0, 0, 1)
    (work,) = books.work()
    assert (work.directory, work.path, work.first, work.count) == (b"/srv/music", b"sub/a", 0, 1)
    books.hash(b"a")
    assert books.listed == ShareCounts(1, 1, 0)
    assert books.work() == [] and books.ledger.next_due(SMALL) is None


def test_seen_again_unchanged_it_is_left_alone(books: Books) -> None:
    books.see("a", status())
    books.hash(b"a")
    before = books.revision
    books.see("a", status())
    assert (books.revision, books.work()) == (before, [])


def test_a_changed_file_is_withdrawn_at_once_and_hashed_anew(books: Books) -> None:
    books.see("a", status())
    books.hash(b"a")
    books.see("a", status(2, mtime=NOW - 5, ctime=NOW - 5))
    assert books.listed == ShareCounts(0, 0, 1) and not books.is_listed(b"a")
    books.hash(b"ab")
    assert books.listed == ShareCounts(1, 2, 0)


def test_a_file_that_was_written_a_moment_ago_must_be_quiet_for_a_second(books: Books) -> None:
    books.see("a", status(mtime=NOW - 0.2, ctime=NOW - 0.2))
    assert books.work() == []
    assert books.ledger.next_due(SMALL) == pytest.approx(NOW + 0.8)
    assert books.listed.waiting == 1
    books.now += 0.8
    assert len(books.work()) == 1


def test_one_that_its_writer_has_closed_need_not(books: Books) -> None:
    fresh = status(mtime=NOW - 0.2, ctime=NOW - 0.2)
    books.see("a", fresh, closed=True)
    assert len(books.work()) == 1
    books.see("b", status(inode=2, mtime=NOW - 0.2, ctime=NOW - 0.2))
    assert len(books.work()) == 1
    books.see("b", status(inode=2, mtime=NOW - 0.2, ctime=NOW - 0.2), closed=True)
    assert len(books.work()) == 2


def test_one_that_is_closed_again_and_again_must_be_quiet_too(books: Books) -> None:
    for turn in range(RESTLESS):
        data = b"a" * (turn + 1)
        books.see("a", status(len(data), mtime=books.now, ctime=books.now), closed=True)
        books.hash(data, doubtful=1)
        books.now += 0.5
    for turn in range(RESTLESS, 9):
        books.see("a", status(turn + 1, mtime=books.now, ctime=books.now), closed=True)
        assert books.work() == []
        books.now += 0.5
    books.now += 0.5
    assert len(books.work()) == 1


def test_one_that_was_read_in_vain_must_be_quiet_too(books: Books) -> None:
    books.see("a", status(mtime=NOW - 0.9, ctime=NOW - 0.9), closed=True)
    books.ledger.store([Changed(books.work()[0], vain=True)], books.now)
    assert books.work() == []
    books.see("a", status(2, mtime=NOW - 0.1, ctime=NOW - 0.1), closed=True)
    assert books.work() == []


def test_a_change_of_the_change_time_alone_keeps_the_listing_and_hashes_again(books: Books) -> None:
    books.see("a", status())
    books.hash(b"a")
    before = books.revision
    books.see("a", status(ctime=NOW - 1))
    assert (books.revision, books.listed) == (before, ShareCounts(1, 1, 0))
    assert books.work() == []
    books.now += 1
    books.hash(b"a")
    assert books.revision == before and books.work() == []


def test_if_the_bytes_were_others_after_all_the_listing_follows(books: Books) -> None:
    books.see("a", status())
    books.hash(b"a")
    books.see("a", status(ctime=NOW - 5))
    books.hash(b"b")
    assert books.is_listed(b"b") and not books.is_listed(b"a")
    assert books.listed == ShareCounts(1, 1, 0)


def test_a_renamed_file_is_listed_at_once(books: Books) -> None:
    books.see("a", status())
    books.hash(b"a")
    books.see("b", status(ctime=NOW - 1), closed=True)
    books.ledger.forget(books.share, [b"a"], books.now)
    assert books.listed == ShareCounts(1, 1, 0)


def test_a_hash_made_while_the_file_was_young_is_announced_but_made_again(books: Books) -> None:
    young = status(mtime=NOW - 0.5, ctime=NOW - 0.5)
    books.see("a", young, closed=True)
    books.hash(b"a", doubtful=1)
    assert books.listed == ShareCounts(1, 1, 0)
    assert books.work() == []
    books.now += 2
    (work,) = books.work()
    assert work.expected == digests_of(b"a")
    before = books.revision
    books.hash(b"a")
    assert books.work() == [] and books.ledger.next_due(SMALL) is None
    assert books.revision == before


def test_if_it_is_not_the_same_then_the_listing_is_withdrawn_and_all_begins_anew(books: Books) -> None:
    books.see("a", status(mtime=NOW - 0.5, ctime=NOW - 0.5), closed=True)
    books.hash(b"a", doubtful=1)
    books.now += 2
    books.hash(b"b")
    assert books.listed == ShareCounts(0, 0, 1)
    books.hash(b"b")
    assert books.is_listed(b"b") and books.listed == ShareCounts(1, 1, 0)


def test_an_unproved_hash_is_proved_after_a_restart(books: Books) -> None:
    books.see("a", status(mtime=NOW - 0.5, ctime=NOW - 0.5), closed=True)
    books.hash(b"a", doubtful=1)
    position = books.ledger.snapshot.position
    books.ledger.close()
    books.reopen()
    assert books.ledger.snapshot.position == position
    books.now += 2
    assert [work.expected for work in books.work()] == [digests_of(b"a")]


def test_a_large_file_is_hashed_in_parts_that_outlive_a_restart(books: Books) -> None:
    chunks = PART_CHUNKS * 5 + 3
    digests = os.urandom(32 * chunks)
    books.see("a", status(chunks * CHUNK_BYTES))
    assert books.work() == []
    taken = 0
    while works := books.work(LARGE):
        (work,) = works
        assert work.first == taken and work.count <= PART_CHUNKS
        # The last part is cut short once, as by a daemon that stops.
        count = work.count if taken else 7
        part = digests[taken * 32 : (taken + count) * 32]
        books.ledger.store([Hashed(work, part, 0, 0.0)], books.now)
        # What is said twice counts once.
        books.ledger.store([Hashed(work, part, 0, 0.0)], books.now)
        taken += count
        books.ledger.close()
        books.reopen()
    assert taken == chunks and books.listed.listings == 1
    content = ContentId(next(iter(books.ledger._db.execute("SELECT content FROM hash")))[0].hex())
    size, groups = books.ledger.outline(content)
    assert (size, len(groups)) == (chunks * CHUNK_BYTES, 64)
    assert books.ledger.group(content, 0) + books.ledger.group(content, 1) == digests


def test_of_a_large_young_file_only_what_was_read_early_is_read_again(books: Books) -> None:
    chunks = PART_CHUNKS + 10
    digests = os.urandom(32 * chunks)
    books.see("a", status(chunks * CHUNK_BYTES, mtime=NOW - 0.5, ctime=NOW - 0.5), closed=True)
    for doubtful in (PART_CHUNKS, PART_CHUNKS + 2):
        (work,) = books.work(LARGE)
        part = digests[work.first * 32 : (work.first + work.count) * 32]
        books.ledger.store([Hashed(work, part, doubtful, books.now + 1.5)], books.now)
    assert books.listed.listings == 1
    books.now += 2
    again = []
    while works := books.work(LARGE):
        (work,) = works
        assert work.expected == digests[work.first * 32 : (work.first + work.count) * 32]
        again.append((work.first, work.count))
        books.ledger.store([Hashed(work, work.expected or b"", 0, 0.0)], books.now)
    assert again == [(2, PART_CHUNKS), (0, 2)]


def test_the_smallest_are_hashed_first(books: Books) -> None:
    for size in (3, 1, 2):
        books.see(str(size), status(size, inode=size))
    assert [work.identity.size for work in books.work()] == [1, 2, 3]


def test_a_file_that_cannot_be_read_is_not_listed_and_tried_again_at_the_next_pass(books: Books) -> None:
    books.see("a", status())
    books.hash(b"a")
    books.see("a", status(ctime=NOW - 5))
    books.ledger.store([Failed(books.work()[0], "Permission denied")], books.now)
    assert books.listed == ShareCounts(0, 0, 0) and books.work() == []
    books.see("a", status(ctime=NOW - 5))
    assert books.listed == ShareCounts(0, 0, 1)
    books.hash(b"a")
    assert books.listed == ShareCounts(1, 1, 0)


def test_two_links_to_a_file_are_hashed_once(books: Books) -> None:
    books.see("a", status())
    books.see("b", status())
    assert len(books.work()) == 1
    books.hash(b"a")
    assert books.listed == ShareCounts(2, 2, 0)


def test_what_a_pass_has_not_seen_is_forgotten_below_its_folder_only(books: Books) -> None:
    names = ["a", "x/a", "x/y/b", "x-y/c", "x0/d", "x"]
    for number, name in enumerate(names):
        books.see(name, status(inode=number + 1))
    seen = Bitmap()
    books.ledger.take(books.share, [Found(b"x", b"new", status(inode=99))], [seen], books.now)
    assert books.ledger.sweep(books.share, b"x", seen, None, books.now) is None
    left = {folder + b"/" + name for folder, name in books.ledger._db.execute("SELECT folder, name FROM file")}
    # `x` itself too: a folder stands there now.
    assert left == {b"/a", b"x/new", b"x-y/c", b"x0/d"}


def test_large_folders_are_swept_forgotten_withdrawn_and_cleared_in_pages(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napd.peer.shares.ledger.PAGE", 3)

    def fill() -> None:
        for number in range(20):
            books.see(f"sub{number % 4}/{number}", status(0, inode=number + 1))
        for work in books.work():
            books.ledger.store([Hashed(work, b"", 0, 0.0)], books.now)
        assert books.listed.listings == 20

    def repeat(step: Callable[..., object], *arguments: object) -> None:
        after = step(*arguments, None)
        while after is not None:
            after = step(*arguments, after)

    fill()
    repeat(books.ledger.withdraw, books.share)
    assert books.listed == ShareCounts(0, 0, 0)
    fill()
    repeat(lambda after: books.ledger.sweep(books.share, b"", Bitmap(), after, books.now))
    assert books.listed == ShareCounts(0, 0, 0)
    fill()
    paths = [b"sub0", b"sub1", b"sub2", b"sub3"]
    while paths:
        paths = books.ledger.forget(books.share, paths, books.now)
    assert books.listed == ShareCounts(0, 0, 0)
    fill()
    books.ledger.leave(books.share)
    while books.ledger.clear_out(books.share, books.now):
        pass
    assert books.ledger.shares() == [] and books.ledger.snapshot.position.listings == 0


def test_hashes_of_files_that_are_gone_are_kept_a_while(books: Books) -> None:
    books.see("a", status())
    books.hash(b"a")
    books.ledger.forget(books.share, [b"a"], books.now)
    books.ledger.prune(books.now + KEPT_S - 1)
    books.see("a", status())
    assert books.listed.listings == 1
    books.ledger.forget(books.share, [b"a"], books.now)
    books.ledger.prune(books.now + KEPT_S + 1)
    books.see("a", status())
    assert books.listed == ShareCounts(0, 0, 1)


def test_a_transaction_that_fails_changes_nothing(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.see("a", status())
    books.hash(b"a")
    before = books.ledger.snapshot

    def fail(*arguments: object) -> None:
        raise OSError("no")

    monkeypatch.setattr("napd.peer.shares.cache.HashCache.abandon", fail)
    with pytest.raises(OSError, match="no"):
        books.ledger.forget(books.share, [b"a"], books.now)
    monkeypatch.undo()
    assert books.ledger.snapshot == before
    books.see("b", status(inode=2))
    books.hash(b"b")
    assert books.listed == ShareCounts(2, 2, 0)
    assert books.revision == before.position.revision + 1
