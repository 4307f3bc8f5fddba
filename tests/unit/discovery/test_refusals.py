"""What a person is told when there will be no session until he acts."""

from __future__ import annotations

import pytest

from napd.discovery.refusals import of_identity, of_last_word
from napd.errors import WrongIdentity
from napd.wire.index import FINAL_CODES, Bye

ADDRESS = "index.example:6699"


@pytest.mark.parametrize("code", sorted(FINAL_CODES))
def test_the_indexs_words_come_first(code: str) -> None:
    assert of_last_word(Bye(code, "so it is")).split(". ")[0] == "so it is"


def test_what_can_be_done_comes_after_them() -> None:
    assert of_last_word(Bye("name_taken", "the user name ada belongs to another key")) == (
        "the user name ada belongs to another key. "
        "Log in under another name with --user, or with the identity that this name belongs to"
    )
    assert of_last_word(Bye("replaced", "ada logged in from elsewhere.")).endswith("elsewhere. " + (
        "To log in here again, and out there: napctl reload"
    ))  # fmt: skip


def test_what_the_index_says_cannot_write_lines_of_its_own() -> None:
    assert "\n" not in of_last_word(Bye("banned", "no\nyes"))


def test_who_answers_instead_is_said_with_the_address() -> None:
    other = of_identity(WrongIdentity("the other end is b, not a"), ADDRESS)
    assert other.startswith(f"the index at {ADDRESS} is not the one that --index names: the other end is b, not a. ")
    none = of_identity(WrongIdentity("the other end does not speak nap-index/1", code="wrong_protocol"), ADDRESS)
    assert none.startswith(f"what answers at {ADDRESS} is no index: ")
    changed = WrongIdentity(f"the index at {ADDRESS} is b, it was a before", "Remove its line")
    assert of_identity(changed, ADDRESS) == str(changed)
