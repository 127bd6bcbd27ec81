"""Texts with words as common as in a language: few are everywhere, most are rare (Zipf's law)."""

from __future__ import annotations

import random
from itertools import accumulate, product
from typing import Final

VOCABULARY: Final = 20_000
_SYLLABLES: Final = [a + b for a, b in product("mktsnrlvpd", "aoieu")]
_CHINESE: Final = "数据库密钥管理系统用户访问权限搜索文档服务器安全策略团队项目报告"
_RUN: Final = 12


def vocabulary() -> list[str]:
    """Return all words, the most common first: of three to five syllables, in an order of no meaning."""
    dice = random.Random(7)
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        words["".join(dice.choices(_SYLLABLES, k=dice.choice((2, 3, 3, 4, 5))))] = None
    return list(words)


class Texts:
    """An endless series of texts, the same each time; one in ten has a run of Chinese."""

    def __init__(self, words: int) -> None:
        self._words = words
        self._dice = random.Random(11)
        self._vocabulary = vocabulary()
        self._weights = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))

    def next(self) -> str:
        """Return the next text."""
        words = self._dice.choices(self._vocabulary, cum_weights=self._weights, k=self._words)
        if self._dice.random() < 0.1:
            words.append("".join(self._dice.choices(_CHINESE, k=_RUN)))
        return " ".join(words)


def searches() -> dict[str, str]:
    """Return the eight kinds of search, each with its query."""
    words = vocabulary()
    rare, common = words[VOCABULARY - 5], words[:10]
    return {
        "a rare word": rare,
        "a common word": common[0],
        "two common words": " ".join(common[1:3]),
        "a common and a rare word": f"{common[0]} {rare}",
        "ten common words": " ".join(common),
        "a prefix of three letters": common[3][:3],
        "a prefix of two letters": common[4][:2],
        "two Chinese characters": _CHINESE[:2],
    }
