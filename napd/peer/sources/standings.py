"""How each source stands with a content: left alone for a while, or on parole. Pure: the caller brings the time.

A wrong chunk puts its source on parole for that content: it is asked for one chunk at a time, so that little is lost
and blame is certain. Another wrong one while that lasts bans it; enough good ones end it. A ban is no sentence for
life: it ends by itself, and sooner if nobody else is left who could serve the content.
"""

from __future__ import annotations

from attrs import define, field

from ...model import ContentId, PeerId

#: Seconds that a source is left alone for a content after lies, and after a mere refusal.
LIAR_BAN_S = 3600.0
REFUSAL_BAN_S = 30.0
#: A source that says when to ask again is believed within these bounds.
RETRY_AFTER_S = (1.0, 3600.0)
#: Good chunks that end a parole.
PAROLE_CHUNKS = 8
#: Seconds after which a liar is tried again, on parole, if it is the only holder; doubled with each further ban.
MERCY_S = 30.0
#: What is remembered of sources, by content; the oldest is forgotten first.
MAX_REMEMBERED = 10_000

_Key = tuple[ContentId, PeerId]


@define
class _Standing:
    """`parole`: good chunks that are still to come; `lies`: bans for lies since it last served its parole."""

    banned_at: float = 0.0
    until: float = 0.0
    code: str = ""
    parole: int = 0
    lies: int = 0


def longest_ban_s(code: str) -> float:
    """Seconds that a ban for this lasts at most. Who is busy says itself for how long."""
    if code == "integrity":
        return LIAR_BAN_S
    return RETRY_AFTER_S[1] if code == "busy" else REFUSAL_BAN_S


@define
class Standings:
    _standings: dict[_Key, _Standing] = field(factory=dict)

    # --- Chunks ----------------------------------------------------------------------------------

    def rejected(self, content: ContentId, peer: PeerId) -> bool:
        """A chunk of its was wrong: it is on parole now. Returns whether it was before, and is to be banned."""
        standing = self._of(content, peer)
        before, standing.parole = standing.parole, PAROLE_CHUNKS
        return before > 0

    def accepted(self, content: ContentId, peer: PeerId) -> bool:
        """A chunk of its was good; returns whether it is still on parole."""
        standing = self._standings.get((content, peer))
        if standing is None or not standing.parole:
            return False
        standing.parole -= 1
        if not standing.parole:
            standing.lies = 0
        return standing.parole > 0

    def on_parole(self, content: ContentId, peer: PeerId) -> bool:
        standing = self._standings.get((content, peer))
        return standing is not None and standing.parole > 0

    def parole_left(self, content: ContentId, peer: PeerId) -> int:
        """Good chunks that are still to come before it ends."""
        standing = self._standings.get((content, peer))
        return 0 if standing is None else standing.parole

    # --- Bans ------------------------------------------------------------------------------------

    def ban(self, content: ContentId, peer: PeerId, code: str, now: float, retry_after_s: float | None = None) -> None:
        """:param retry_after_s: what a source that refused said itself."""
        standing = self._of(content, peer)
        lied = code == "integrity"
        standing.banned_at, standing.code = now, code
        least, most = RETRY_AFTER_S
        refusal_s = REFUSAL_BAN_S if retry_after_s is None else min(most, max(least, retry_after_s))
        standing.until = now + (LIAR_BAN_S if lied else refusal_s)
        if lied:
            standing.lies += 1
            standing.parole = PAROLE_CHUNKS

    def ban_code(self, content: ContentId, peer: PeerId, now: float) -> str | None:
        """Why this peer is not asked for this content at present."""
        standing = self._standings.get((content, peer))
        return None if standing is None or standing.until <= now else standing.code

    def ban_left_s(self, content: ContentId, peer: PeerId, now: float) -> float:
        standing = self._standings.get((content, peer))
        return 0.0 if standing is None else max(0.0, standing.until - now)

    def have_mercy(self, content: ContentId, peer: PeerId, now: float) -> None:
        """It is the only one that could serve: a liar's ban gives way to parole, after a wait that grows."""
        standing = self._standings.get((content, peer))
        if standing is not None and standing.code == "integrity":
            wait = min(LIAR_BAN_S, MERCY_S * 2 ** min(standing.lies - 1, 10))
            standing.until = min(standing.until, standing.banned_at + wait)

    def came_back(self, content: ContentId, peer: PeerId) -> None:
        """It may have changed: a refusal is forgotten, a lie is not."""
        standing = self._standings.get((content, peer))
        if standing is not None and standing.code != "integrity":
            standing.until = 0.0

    def pardon(self, content: ContentId) -> None:
        """A person wants it tried again with everybody."""
        for key, standing in self._standings.items():
            if key[0] == content:
                standing.until = 0.0

    def _of(self, content: ContentId, peer: PeerId) -> _Standing:
        key = (content, peer)
        standing = self._standings.get(key)
        if standing is None:
            if len(self._standings) >= MAX_REMEMBERED:
                del self._standings[next(iter(self._standings))]
            standing = self._standings[key] = _Standing()
        return standing
