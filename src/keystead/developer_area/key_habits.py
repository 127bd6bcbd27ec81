"""The habits in words: how many keys, what to do about them, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keystead.developer_area.keys.contexts import HabitLine
from keystead.developer_area.web.contexts import Link
from keystead.domain.key_hygiene import HygieneFinding


@dataclass(frozen=True, slots=True)
class _Words:
    """`one` and `many` go on after the number."""

    one: str
    many: str
    action: str
    reason: str


_WORDS: Final[Mapping[HygieneFinding, _Words]] = {
    HygieneFinding.EXPIRING: _Words(
        "key expires within 14 days",
        "keys expire within 14 days",
        "Rotate in time",
        "What uses them stops when they expire. Rotate them with an overlap, and put the new keys in their places.",
    ),
    HygieneFinding.NEVER_USED: _Words(
        "key was never used in 30 days",
        "keys were never used in 30 days",
        "Revoke",
        "They were made at least 30 days ago, and nothing has called with them. Nothing stops when they are revoked.",
    ),
    HygieneFinding.UNUSED: _Words(
        "key has not been used for 30 days",
        "keys have not been used for 30 days",
        "Revoke if nobody needs it",
        "A key that nobody uses is a key that nobody misses when it leaks. Their pages say who called last.",
    ),
    HygieneFinding.OLD: _Words(
        "key is older than a year",
        "keys are older than a year",
        "Rotate",
        "The longer a key lives, the more places hold a copy of it. Rotating ends all of them.",
    ),
    HygieneFinding.NEVER_EXPIRES: _Words(
        "key has no expiry",
        "keys have no expiry",
        "Set an expiry",
        "They work until somebody remembers to revoke them. Edit each, and say when it ends.",
    ),
}
"""The most urgent first."""


def habit_line(habit: HygieneFinding, count: int, keys_url: str) -> HabitLine:
    """What is to be said of `count` keys."""
    words = _WORDS[habit]
    text = f"{count} {words.one if count == 1 else words.many}"
    return HabitLine(Link(text, f"{keys_url}?show={habit}"), words.action, words.reason)


def habit_lines(counts: Mapping[HygieneFinding, int], keys_url: str) -> list[HabitLine]:
    """All that there is to say."""
    return [habit_line(habit, counts[habit], keys_url) for habit in _WORDS if counts.get(habit, 0)]
