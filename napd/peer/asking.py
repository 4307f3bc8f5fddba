"""What a search or a wish may ask for, looked at before the index is asked. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import Misuse, printable
from ..wire.line import USER_NAME

#: Characters of a query, as the wire has room for.
MAX_QUERY = 4096
#: Extensions, and characters of each.
MAX_EXTENSIONS = 16
MAX_EXTENSION = 256

_USER = re.compile(USER_NAME)


def check_words(text: str) -> None:
    """:raises Misuse: it is longer than what can be asked."""
    if len(text) > MAX_QUERY:
        raise Misuse(f"{len(text)} characters to look for; at most {MAX_QUERY} can be")


def check_extensions(extensions: Sequence[str]) -> None:
    """:raises Misuse: there are more, or longer ones, than can be asked for."""
    if len(extensions) > MAX_EXTENSIONS:
        raise Misuse(f"{len(extensions)} extensions; at most {MAX_EXTENSIONS} can be asked for")
    for extension in extensions:
        if len(extension) > MAX_EXTENSION:
            raise Misuse(f"no file has the extension {printable(extension, 60)!r}")


def user_named(text: str | None) -> str | None:
    """The user name that this can be, as the index compares them. :raises Misuse: nobody can have it."""
    if text is None:
        return None
    name = text.casefold()
    if _USER.match(name) is None:
        raise Misuse(
            f"nobody can be called {printable(text, 60)!r}",
            "A user name is 1 to 32 of a-z 0-9 . _ -, a letter or digit first",
        )
    return name
