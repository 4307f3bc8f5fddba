"""What the shell offers while a command is typed: live from the daemon, within a tenth of a second or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import click
import msgspec
from click.shell_completion import CompletionItem

from napd.errors import NapError
from napd.wire.documents import DownloadsDocument, SharesDocument, UsersDocument, WishesDocument

from .client import Client
from .invocation import Invocation
from .sockets import PEER, find_socket
from .text import cut, visible

#: Longer and the shell would feel stuck.
PATIENCE_S = 0.1
_REMARK_COLUMNS = 48

SELECTOR_WORDS = ("all", "active", "queued", "waiting", "paused", "failed", "done", "cancelled")
UNFINISHED = frozenset({"active", "queued", "waiting", "paused"})
EVERY_STATE = UNFINISHED | {"done", "failed", "cancelled"}

#: A string, because older versions of click have CompletionItem without a parameter.
Completer: TypeAlias = "Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]"


def selectors(states: Iterable[str] = EVERY_STATE, then: Sequence[str] = ()) -> Completer:
    """Ids of downloads in these states, and the words that select several; after a comma, the next id.

    :param then: words of the argument that follows, offered beside them.
    """
    wanted = frozenset(states)

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        before, comma, begun = incomplete.rpartition(",")
        named = before.split(",")
        items = [
            CompletionItem(f"{before}{comma}{row.id}", help=_remark(f"{row.state}: {row.name}"))
            for row in _downloads(ctx)
            if row.state in wanted and str(row.id).startswith(begun) and str(row.id) not in named
        ]
        words = [] if comma else [word for word in (*then, *SELECTOR_WORDS) if word.startswith(incomplete)]
        return items + [CompletionItem(word) for word in words]

    return complete


def download_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    return [
        CompletionItem(str(row.id), help=_remark(f"{row.state}: {row.name}"))
        for row in _downloads(ctx)
        if str(row.id).startswith(incomplete)
    ]


def share_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    document = _ask(ctx, "share.list", {}, SharesDocument)
    rows = document.shares if document else []
    return [
        CompletionItem(row.name, help=_remark(row.directory))
        for row in rows
        if row.name.startswith(incomplete) and row.name == visible(row.name)
    ]


def user_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    document = _ask(ctx, "users", {}, UsersDocument)
    rows = document.users if document else []
    return [
        CompletionItem(row.user) for row in rows if row.user.startswith(incomplete) and row.user == visible(row.user)
    ]


def wish_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    document = _ask(ctx, "wish.list", {}, WishesDocument)
    rows = document.wishes if document else []
    return [CompletionItem(str(row.id), help=_remark(row.query)) for row in rows if str(row.id).startswith(incomplete)]


def _downloads(ctx: click.Context) -> list[Any]:
    document = _ask(ctx, "queue.list", {}, DownloadsDocument)
    return document.downloads if document else []


def _ask(ctx: click.Context, method: str, params: Mapping[str, Any], kind: type[Any]) -> Any | None:
    """The daemon's document, or None: a shell's completion says nothing about errors."""
    invocation = ctx.find_object(Invocation)
    if invocation is None:
        return None
    try:
        path = find_socket(invocation.socket, PEER, invocation.environ)
        with Client(path, PATIENCE_S) as client:
            return msgspec.json.decode(client.call(method, params), type=kind)
    except (NapError, msgspec.MsgspecError, UnicodeError):
        return None


def _remark(text: str) -> str:
    return cut(visible(text), _REMARK_COLUMNS)
