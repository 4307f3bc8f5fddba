"""Paths as the daemon gets them: absolute, because it runs elsewhere, and otherwise as they were typed."""

from __future__ import annotations

import os

from napd.errors import Misuse


def absolute(path: str, subject: str) -> str:
    """The path from the working directory on, `~` expanded, symbolic links kept.

    :param subject: names the argument in the error.
    :raises Misuse: if it is empty, or relative to a working directory that is gone.
    """
    if not path:
        raise Misuse(f"{subject}: an empty path", "Name a file or directory")
    expanded = os.path.expanduser(path) if path == "~" or path.startswith("~/") else path
    try:
        return os.path.abspath(expanded)
    except FileNotFoundError as error:
        raise Misuse(f"{subject}: the working directory is gone", "Give an absolute path") from error
