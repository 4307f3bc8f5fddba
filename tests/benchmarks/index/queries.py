"""What is searched for: a hundred searches of each class, from the commonest word to a file that one knows."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from attrs import define

#: Searches of a class.
EACH = 100
MIB = 1 << 20


@define
class Word:
    """A word, and in how many items it is."""

    text: str
    items: int = 0


Asked = list[tuple[str, dict[str, Any]]]


def queries(words: Sequence[Word], known: Sequence[Sequence[str]], items: int) -> dict[str, Asked]:
    """:param known: words of the names of some files."""
    random = Random(2)
    by_use = [word.text for word in sorted(words, key=lambda word: (-word.items, word.text))]
    hardest, common = by_use[:10], by_use[10:110]
    mid = [word.text for word in words if items * 3e-4 <= word.items <= items * 3e-3]
    rare = [word.text for word in words if word.items <= 20]
    audio = {"type": "audio", "min_bitrate": 256}
    video = {"type": "video", "min_size": 512 * MIB}

    def some(of: Sequence[str]) -> str:
        return random.choice(of) if of else hardest[0]

    def asked(text: str, **options: Any) -> tuple[str, dict[str, Any]]:
        return text, options

    each = range(EACH)
    return {
        "rare word": [asked(some(rare)) for _ in each],
        "mid word": [asked(some(mid)) for _ in each],
        "common word": [asked(common[n % len(common)]) for n in each],
        "ten commonest words": [asked(hardest[n % len(hardest)]) for n in each],
        "two common words": [asked(" ".join(random.sample(by_use[:60], 2))) for _ in each],
        "known item, 3 words": [asked(" ".join(random.sample(sorted(set(one)), min(3, len(set(one)))))) for one in
                                (random.choice(known) for _ in each)],
        "common and rare": [asked(f"{some(common)} {some(rare)}") for _ in each],
        "prefix of 3 letters": [asked(_beginning(some(common))) for _ in each],
        "word and prefix": [asked(f"{some(common)} {_beginning(some(mid))}") for _ in each],
        "common, not another": [asked(f"{some(common)} -{some(hardest)}") for _ in each],
        "audio, 256 kbit/s and more": [asked(some(common), **audio) for _ in each],
        "video, 512 MiB and more": [asked(some(by_use[:110]), **video) for _ in each],
    }  # fmt: skip


def _beginning(word: str) -> str:
    """Of letters: a prefix of Han characters is nearly a word."""
    return f"{word[:3]}*" if len(word) > 3 else f"{word}*"
