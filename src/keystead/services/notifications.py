"""Digests: which workspaces are due, what each of their members gets to read, and that it was sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystead.domain import notification_digests as rules
from keystead.domain.events import Event
from keystead.domain.ids import KeyId
from keystead.domain.keys import ApiKey
from keystead.domain.mail import SERVER_RETRY_DELAY, Email, is_given_up, retry_delay
from keystead.domain.notification_digests import DigestItem
from keystead.services.isolation import Failure, OnFailure
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import anew
from keystead.storage.tables import events, keys, workspaces
from keystead.storage.tables import notification_digests as rows
from keystead.storage.tables.notification_digests import ClaimedDigest

TASK: Final = "send digests"
LEASE: Final = timedelta(minutes=10)
BATCH: Final = 20
MOST_EVENTS: Final = 500


@dataclass(frozen=True, slots=True)
class Digest:
    """The letters to one workspace's members, and the number of the last event that they report."""

    claimed: ClaimedDigest
    through: int
    letters: list[Email]
    at: datetime

    @property
    def name(self) -> str:
        """The item's name in the log."""
        return self.claimed.workspace_id

    @property
    def once(self) -> str:
        """A text that no other sending has."""
        return f"{self.claimed.workspace_id} {self.through}"


class Digests:
    """Claims, composes, settles. Each letter is recorded once sent, so an attempt that fails repeats no other's."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        base_url: str,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._base_url = base_url
        self._on_failure = on_failure or (lambda _: None)

    def claim(self) -> list[Digest]:
        """Claim the digests that are due and that no other worker is sending, at most twenty."""
        now = self._clock.now()
        digests: list[Digest] = []
        for claimed in self._claim(now):
            try:
                digests.append(self._compose(claimed, now))
            except Exception as error:  # noqa: BLE001 - the other workspaces are not at fault
                # A StorageError too: the database may cancel what takes too long in one workspace. If it
                # is away altogether, this write fails as well, and the run ends.
                self._fail(claimed, error)
        return digests

    @anew
    def note(self, digest: Digest, letter: Email) -> bool:
        """Record that a letter was sent, and extend the lease. Return False if another worker has it."""
        with self._database.write_across(Purpose.WORKER) as tx:
            until = self._clock.now() + LEASE
            return rows.note_letter(tx, digest.claimed, letter.user_id, digest.through, until)

    @anew
    def settle(self, digest: Digest) -> None:
        """Record that the letters were sent, or that there was none to send."""
        with self._database.write_across(Purpose.WORKER) as tx:
            rows.settle_digest(tx, digest.claimed, digest.through, self._clock.now())

    def fail(self, digest: Digest, error: Exception) -> None:
        """Postpone what is left of a digest, or give it up after many failures."""
        self._fail(digest.claimed, error)

    @anew
    def wait(self, digest: Digest) -> None:
        """Try again in a while: the mail server is away, and the digest is not at fault."""
        claimed = digest.claimed
        with self._database.write_across(Purpose.WORKER) as tx:
            rows.postpone_digest(
                tx, claimed, self._clock.now() + SERVER_RETRY_DELAY, claimed.failures
            )

    @anew
    def _fail(self, claimed: ClaimedDigest, error: Exception) -> None:
        now, failures = self._clock.now(), claimed.failures + 1
        given_up = is_given_up(failures)
        with self._database.write_across(Purpose.WORKER) as tx:
            if given_up:
                rows.give_up_digest(tx, claimed, now)
            else:
                rows.postpone_digest(tx, claimed, now + retry_delay(failures), failures)
        self._on_failure(Failure(TASK, claimed.workspace_id, failures, given_up, error))

    @anew
    def _claim(self, now: datetime) -> list[ClaimedDigest]:
        with self._database.write_across(Purpose.WORKER) as tx:
            return rows.claim_digests(tx, now, now + LEASE, BATCH)

    @anew
    def _compose(self, claimed: ClaimedDigest, now: datetime) -> Digest:
        workspace_id, begin = claimed.workspace_id, claimed.told_through
        with self._database.read(workspace_id) as tx:
            sent = rows.letters_sent(tx, workspace_id)
            found = _untold(tx, claimed, min([begin, *sent.values()]))
            through = max(begin, found[-1].sequence) if found else begin
            workspace = workspaces.find_workspace(tx, workspace_id)
            assert workspace is not None  # noqa: S101 - its digest's row refers to it
            chosen = rows.topics_chosen(tx, workspace_id)
            members = workspaces.members_of(tx, workspace_id)
            # Members who are ahead got this digest's letter at an earlier attempt.
            starts = {m.user.id: sent.get(m.user.id, begin) for m in members}
            waiting = [m for m in members if starts[m.user.id] <= begin]
            lines = {start: _lines(tx, found, start, now) for start in {*starts.values()}}
        letters: list[Email | None] = []
        for member in waiting:
            topics = chosen.get(member.user.id, rules.default_topics(member.role))
            wanted = [line for line in lines[starts[member.user.id]] if line.topic in topics]
            letters.append(rules.compose(workspace.name, member, wanted, self._base_url))
        return Digest(claimed, through, [letter for letter in letters if letter], now)


def _untold(tx: Tx, claimed: ClaimedDigest, after: int) -> list[Event]:
    """Return the newest events that weren't reported to every member yet, in their order."""
    newest = events.page_of_events(
        tx, claimed.workspace_id, limit=MOST_EVENTS, types=list(rules.TOPIC_OF)
    )
    return [event for event in reversed(newest) if event.sequence > after]


def _lines(tx: Tx, found: list[Event], after: int, now: datetime) -> list[DigestItem]:
    """One line for each thing that happened after that event: the last word on it counts."""
    news = {
        (event.type, event.target.id): event
        for event in found
        if event.sequence > after and rules.is_reportable(event, now)
    }
    lines = [rules.digest_item(event, _key_of(tx, event), now) for event in news.values()]
    return [line for line in lines if line is not None]


def _key_of(tx: Tx, event: Event) -> ApiKey | None:
    if event.target.type != "key":
        return None
    return keys.find_key(tx, event.workspace_id, KeyId(event.target.id))
