from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keystead.domain.ids import SessionId, UserId
from keystead.domain.sessions import (
    ABSOLUTE_LIMIT,
    IDLE_LIMIT,
    LINK_LIFETIME,
    Session,
    may_continue,
)
from tests.support.clocks import NOON

SESSION = Session(SessionId("ses_1"), UserId("usr_1"), NOON, NOON, NOON)
INSTANT = timedelta(microseconds=1)


def test_limits() -> None:
    """A session ends after an hour without use and after 24 in any case (NIST SP 800-63B), a link after 15 minutes."""
    limits = (IDLE_LIMIT, ABSOLUTE_LIMIT, LINK_LIFETIME)
    assert limits == (timedelta(hours=1), timedelta(hours=24), timedelta(minutes=15))


def test_idle_limit() -> None:
    """A session is valid until the exact time at which it was unused for an hour."""
    assert SESSION.is_active(NOON + IDLE_LIMIT - INSTANT)
    assert not SESSION.is_active(NOON + IDLE_LIMIT)


def test_absolute_limit() -> None:
    """A session in constant use ends 24 hours after it began."""
    busy = replace(SESSION, seen_at=NOON + ABSOLUTE_LIMIT - INSTANT)
    assert busy.is_active(NOON + ABSOLUTE_LIMIT - INSTANT)
    assert not busy.is_active(NOON + ABSOLUTE_LIMIT)


@pytest.mark.parametrize("seconds", [0, 1, 3600])
def test_an_ended_session_is_never_valid(seconds: int) -> None:
    """A session that was ended stays invalid, even for a clock that runs behind."""
    ended = replace(SESSION, ended_at=NOON + timedelta(seconds=seconds))
    assert not ended.is_active(NOON)


def test_touches_are_rare() -> None:
    """A session's use is written at most once a minute."""
    assert not SESSION.needs_touch(NOON + timedelta(seconds=60) - INSTANT)
    assert SESSION.needs_touch(NOON + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("minutes", "continues"), [(-1, False), (0, True), (14.99, True), (15, False), (600, False)]
)
def test_a_form_continues_for_a_quarter_of_an_hour(minutes: float, continues: bool) -> None:
    """What was sent long ago, or has a time of the future, waits for another click."""
    assert may_continue(NOON, NOON + timedelta(minutes=minutes)) is continues
