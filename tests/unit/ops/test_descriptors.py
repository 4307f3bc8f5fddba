"""The limit of open files is raised as far as it may be, and never lowered."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from napd.ops.descriptors import allow_descriptors


@pytest.fixture
def hard() -> Iterator[int]:
    """The soft limit is 256 meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_it_is_raised_to_what_is_wanted_and_not_lowered_again(hard: int) -> None:
    assert allow_descriptors(300) == 300
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, hard)
    assert allow_descriptors(200) == 300


def test_beyond_what_the_system_allows_it_is_that(hard: int) -> None:
    if hard == resource.RLIM_INFINITY:
        pytest.skip("the system sets no limit")
    assert allow_descriptors(hard + 1) == hard
