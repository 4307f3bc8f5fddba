"""Keeps the index's copy of the catalogue in step: nothing when it is, a delta when it can be, the full list
otherwise."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field

from ..wire import index as wire
from ..wire.line import MAX_LINE_BYTES
from .interface import CatalogueFeed

#: Bytes of JSON for a step's entries; the rest of the line is for the message around them.
STEP_BYTES = MAX_LINE_BYTES - 2048

_NOTHING = "0" * 64


@define
class Announcer:
    """One session's announcing.

    `_sent` is the revision up to which steps were sent; `_under_way` are the steps, at most `ANNOUNCE_WINDOW`, that
    the index has not answered yet: it answers them in order.
    """

    _feed: CatalogueFeed
    _say: Callable[[wire.Announce], None]
    _epoch: str = field(init=False, default=_NOTHING)
    _sent: int = field(init=False, default=0)
    _under_way: deque[tuple[str, int]] = field(init=False, factory=deque)
    _resets: bool = field(init=False, default=False)
    _on: bool = field(init=False, default=False)

    def start(self, welcome: wire.Welcome) -> None:
        """Go on from what the index says it has."""
        position = self._feed.position()
        self._on = True
        self._under_way.clear()
        self._epoch = position.epoch
        same_line = welcome.epoch == position.epoch and welcome.revision <= position.revision
        in_step = welcome.revision < position.revision or welcome.digest == position.digest
        if same_line and in_step:
            self._sent, self._resets = welcome.revision, False
        else:
            self._sent, self._resets = 0, True
        self.pump()

    def stop(self) -> None:
        self._on = False

    def pump(self) -> None:
        """Send what is new, as far as the window allows. Called after every change and acknowledgement."""
        while self._on and len(self._under_way) < wire.ANNOUNCE_WINDOW:
            position = self._feed.position()
            if position.epoch != self._epoch:
                self._epoch, self._sent, self._resets = position.epoch, 0, True
            try:
                step = self._feed.step(self._sent, STEP_BYTES)
            except LookupError:
                self._sent, self._resets = 0, True
                continue
            if step is None and not self._resets:
                return
            if step is None:
                # An empty catalogue takes the place of what the index has.
                self._announce(wire.Announce(self._epoch, 0, position.revision, reset=True, digest=position.digest))
                return
            self._announce(
                wire.Announce(
                    epoch=self._epoch,
                    base=self._sent,
                    revision=step.revision,
                    add=tuple(step.add),
                    withdraw=tuple(step.withdraw),
                    reset=self._resets,
                    digest=step.digest,
                )
            )

    def _announce(self, message: wire.Announce) -> None:
        self._sent, self._resets = message.revision, False
        self._under_way.append((message.epoch, message.revision))
        self._say(message)

    def acknowledged(self, ack: wire.Ack) -> None:
        step = ack.epoch, ack.revision
        if step in self._under_way:
            while self._under_way.popleft() != step:
                pass
        self.pump()

    def out_of_step(self) -> None:
        """The index wants the full list."""
        self._under_way.clear()
        self._sent, self._resets = 0, True
        self.pump()
