"""What an earlier run left of a download: what its journal says and what the disk holds, brought together.

All of it in bulk and on a disk thread: a download may have millions of chunks, and the reactor has no time for them.
"""

from __future__ import annotations

from attrs import frozen

from ...content.digest import CHUNK_BYTES, GROUP_CHUNKS
from ...content.manifest import Outline
from ...errors import LocalProtocolError
from ...model import ContentId
from ..picker import Picker
from .journal import Kept
from .partial import PartialFile, rehash_candidates


@frozen
class Recovered:
    """:ivar picker: what is flushed is verified in it.

    :ivar bytes_done: in what is flushed.
    :ivar void: the journal told of chunks that the file is too short for; they are not among the flushed any more.
    :ivar candidates: chunks that are on the disk, as far as it seems, and that the journal does not know.
    """

    outline: Outline
    picker: Picker
    bytes_done: int
    void: bool
    candidates: list[int]


def recover(partial: PartialFile, content: ContentId, kept: Kept, length: int, sequential: bool) -> Recovered:
    """:param kept: with an outline; its flushed chunks are cut to what the file reaches.

    :param length: of the partial file.
    :raises IntegrityFailure: the outline is not the content's. :raises DiskFailed: the file cannot be looked at.
    """
    if kept.outline is None:
        raise LocalProtocolError("nothing is known of what is to be recovered")
    outline = Outline.verified(content, *kept.outline)
    flushed = kept.flushed
    void = flushed.cut(outline.chunks if length >= outline.size else length // CHUNK_BYTES)
    picker = Picker(outline.chunks, sequential=sequential)
    for group, bits in flushed.groups():
        first = group * GROUP_CHUNKS
        picker.hold(first, min(GROUP_CHUNKS, outline.chunks - first), bits)
    found = rehash_candidates(partial, outline.size, flushed)
    candidates = [chunk for chunk in found if chunk // GROUP_CHUNKS in kept.groups]
    return Recovered(outline, picker, flushed.count(outline.size), void, candidates)
