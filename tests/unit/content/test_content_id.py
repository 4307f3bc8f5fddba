"""The content id: the published vectors, and the published recipe without any code of ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napd.content.digest import (
    CHUNK_BYTES,
    DIGEST_BYTES,
    GROUP_CHUNKS,
    MAX_CONTENT_BYTES,
    chunk_bytes,
    chunk_count,
    chunk_digest,
    content_id,
    group_chunks,
    group_count,
    group_digest,
    is_content_id,
)
from tests.support.processes import ROOT

PAGE = (ROOT / "docs/reference/content-id.md").read_text("utf-8")
VECTORS = {int(size): content for size, content in re.findall(r"^\| (\d+) \| `([0-9a-f]{64})` \|$", PAGE, re.M)}
#: The pattern of the vectors, long enough for a chunk from any place in it.
PATTERN = bytes(range(251)) * (CHUNK_BYTES // 251 + 2)

#: Does what the recipe asks of b3sum, where the real one is not installed.
STAND_IN = f"""#!{sys.executable}
import sys
from blake3 import blake3
arguments = sys.argv[1:]
context = arguments[arguments.index("--derive-key") + 1] if "--derive-key" in arguments else None
digest = blake3(sys.stdin.buffer.read(), derive_key_context=context)
if "--raw" in arguments:
    sys.stdout.buffer.write(digest.digest())
else:
    print(digest.hexdigest())
"""


def chunks(size: int) -> Iterator[bytes]:
    """The vectors' input, by chunks."""
    for chunk in range(chunk_count(size)):
        start = chunk * CHUNK_BYTES % 251
        yield PATTERN[start : start + chunk_bytes(size, chunk)]


def digests(size: int) -> list[bytes]:
    # The pattern comes round after 251 chunks: no need to hash a GiB of it.
    known: dict[bytes, bytes] = {}
    return [known.get(chunk) or known.setdefault(chunk, chunk_digest(chunk)) for chunk in chunks(size)]


def test_the_vectors_are_those_that_were_promised() -> None:
    assert sorted(VECTORS) == [0, 1, 1 << 20, (1 << 20) + 1, 1 << 30, (1 << 30) + 1]


@pytest.mark.parametrize("size", sorted(VECTORS))
def test_each_vector_has_its_content_id(size: int) -> None:
    of_chunks = digests(size)
    groups = [group_digest(of_chunks[at : at + GROUP_CHUNKS]) for at in range(0, len(of_chunks), GROUP_CHUNKS)]
    assert content_id(size, groups) == VECTORS[size]


def test_the_digests_on_the_way_are_those_of_the_page() -> None:
    (chunk,) = digests(1 << 20)
    assert f"`{chunk.hex()}`" in PAGE
    assert f"`{group_digest([chunk]).hex()}`" in PAGE


@pytest.mark.parametrize("size", [size for size in sorted(VECTORS) if size <= CHUNK_BYTES + 1])
def test_the_recipe_of_the_page_gives_the_same(tmp_path: Path, size: int) -> None:
    if shutil.which("b3sum") is None:
        (tmp_path / "b3sum").write_text(STAND_IN)
        (tmp_path / "b3sum").chmod(0o755)
    (recipe,) = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)
    (tmp_path / "recipe").write_text(recipe)
    (tmp_path / "file").write_bytes(b"".join(chunks(size)))
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(
        ["bash", str(tmp_path / "recipe"), str(tmp_path / "file")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert said.stdout.strip() == VECTORS[size]


@given(st.integers(0, MAX_CONTENT_BYTES))
def test_chunks_and_groups_of_a_size_add_up(size: int) -> None:
    assert group_count(size) == -(-chunk_count(size) // GROUP_CHUNKS)
    if size:
        last = chunk_count(size) - 1
        assert last * CHUNK_BYTES + chunk_bytes(size, last) == size
        assert 0 < chunk_bytes(size, last) <= CHUNK_BYTES
        last_group = group_count(size) - 1
        assert last_group * GROUP_CHUNKS + group_chunks(size, last_group) == chunk_count(size)
    else:
        assert chunk_count(size) == 0


def test_sizes_and_groups_out_of_bounds_are_refused() -> None:
    for size in (-1, MAX_CONTENT_BYTES + 1):
        with pytest.raises(ValueError, match="a content has"):
            content_id(size, [])
    for joined in (b"", b"x", bytes((GROUP_CHUNKS + 1) * DIGEST_BYTES)):
        with pytest.raises(ValueError, match="a group has"):
            group_digest(joined)


def test_only_64_lower_case_hex_digits_are_a_content_id() -> None:
    assert is_content_id("0" * 64)
    for text in ("", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n"):
        assert not is_content_id(text)
