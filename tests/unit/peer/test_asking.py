"""What a search or a wish may ask for."""

from __future__ import annotations

import pytest

from napd.errors import Misuse
from napd.peer.asking import (
    MAX_EXTENSION,
    MAX_EXTENSIONS,
    MAX_QUERY,
    check_extensions,
    check_words,
    user_named,
)


def test_as_much_can_be_asked_as_the_index_takes_and_no_more() -> None:
    check_words("x" * MAX_QUERY)
    check_extensions(["e" * MAX_EXTENSION] * MAX_EXTENSIONS)
    with pytest.raises(Misuse, match="4097 characters to look for; at most 4096 can be"):
        check_words("x" * (MAX_QUERY + 1))
    with pytest.raises(Misuse, match="17 extensions; at most 16"):
        check_extensions(["e"] * (MAX_EXTENSIONS + 1))
    with pytest.raises(Misuse, match="no file has the extension"):
        check_extensions(["e" * (MAX_EXTENSION + 1)])


def test_a_user_is_named_as_the_index_compares_names() -> None:
    assert [user_named(text) for text in ("ann", "Ann", "a.b_c-1", None)] == ["ann", "ann", "a.b_c-1", None]


@pytest.mark.parametrize("text", ["", "Bad Name", "-ann", "@ann", "ann\n", "é", "a" * 33])
def test_a_name_that_nobody_can_have_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(Misuse, match="nobody can be called") as caught:
        user_named(text)
    assert caught.value.hint is not None and "1 to 32" in caught.value.hint
