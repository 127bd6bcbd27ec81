"""Digests: which workspaces are due, what each of their members is to be told, and that it was sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystead.domain import digests as rules
from keystead.domain.digests import Letter, Line
from keystead.domain.events import Event
from keystead.domain.ids import KeyId
from keystead.domain.keys import ApiKey
from keystead.storage import digests as rows
from keystead.storage import events, keys, workspaces
from keystead.storage.anew import anew
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.digests import ClaimedDigest
from keystead.storage.purposes import Purpose

LEASE: Final = timedelta(minutes=10)
BATCH: Final = 20
MOST_EVENTS: Final = 500


@dataclass(frozen=True, slots=True)
class Digest:
    """The letters to one workspace's members, and the event up to which they tell."""

    claimed: ClaimedDigest
    through: int
    letters: list[Letter]
    at: datetime


class Digests:
    """Claims, composes, settles. A worker that dies between sending and settling sends again: twice beats never."""

    def __init__(self, database: Database, clock: Clock, *, base_url: str) -> None:
        self._database = database
        self._clock = clock
        self._base_url = base_url

    def claim(self) -> list[Digest]:
        """The digests that are due and that nobody else is sending, at most twenty."""
        now = self._clock.now()
        return [self._compose(one, now) for one in self._claim(now)]

    @anew
    def settle(self, digest: Digest) -> None:
        """The letters were sent, or there was none to send."""
        with self._database.write_across(Purpose.WORKER) as tx:
            rows.settle_digest(tx, digest.claimed, digest.through, self._clock.now())

    @anew
    def postpone(self, digest: Digest) -> None:
        """They could not be sent; again in a while."""
        pause = rules.pause_after(digest.claimed.failures + 1)
        with self._database.write_across(Purpose.WORKER) as tx:
            rows.postpone_digest(tx, digest.claimed, self._clock.now() + pause)

    @anew
    def _claim(self, now: datetime) -> list[ClaimedDigest]:
        with self._database.write_across(Purpose.WORKER) as tx:
            return rows.claim_digests(tx, now, now + LEASE, BATCH)

    @anew
    def _compose(self, claimed: ClaimedDigest, now: datetime) -> Digest:
        workspace_id = claimed.workspace_id
        with self._database.read(workspace_id) as tx:
            found = _untold(tx, claimed)
            through = found[-1].sequence if found else claimed.told_through
            lines = _lines(tx, found, now)
            workspace = workspaces.find_workspace(tx, workspace_id)
            assert workspace is not None  # noqa: S101 - its digest's row refers to it
            chosen = rows.topics_chosen(tx, workspace_id)
            members = workspaces.members_of(tx, workspace_id)
        letters: list[Letter | None] = []
        for member in members:
            topics = chosen.get(member.user.id, rules.default_topics(member.role))
            wanted = [line for line in lines if line.topic in topics]
            letters.append(rules.compose(workspace.name, member, wanted, self._base_url))
        return Digest(claimed, through, [letter for letter in letters if letter], now)


def _untold(tx: Tx, claimed: ClaimedDigest) -> list[Event]:
    """The newest events that members are told of and were not, in their order."""
    newest = events.page_of_events(
        tx, claimed.workspace_id, limit=MOST_EVENTS, types=list(rules.TOPIC_OF)
    )
    return [event for event in reversed(newest) if event.sequence > claimed.told_through]


def _lines(tx: Tx, found: list[Event], now: datetime) -> list[Line]:
    """One line for each thing: the last word on it counts."""
    news = {(event.type, event.target.id): event for event in found if rules.is_news(event, now)}
    lines = [rules.line_of(event, _key_of(tx, event), now) for event in news.values()]
    return [line for line in lines if line is not None]


def _key_of(tx: Tx, event: Event) -> ApiKey | None:
    if event.target.type != "key":
        return None
    return keys.find_key(tx, event.workspace_id, KeyId(event.target.id))
