"""Notifications by email: each member's preferences, and the daily digest of a workspace's events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystead.domain import notification_digests as rules
from keystead.domain.errors import Forbidden, NotFound
from keystead.domain.events import Event
from keystead.domain.ids import KeyId, UserId
from keystead.domain.keys import ApiKey
from keystead.domain.mail import SERVER_RETRY_DELAY, Email, is_given_up, retry_delay
from keystead.domain.notification_digests import DigestItem, Topic, check_topics, default_topics
from keystead.domain.principals import Principal, PrincipalKind
from keystead.domain.roles import Permission
from keystead.services.authorization import Authorization
from keystead.services.isolation import Failure, OnFailure
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events, keys, workspaces
from keystead.storage.tables import notification_digests as rows
from keystead.storage.tables.notification_digests import ClaimedDigest

TASK: Final = "notification_digests"
LEASE: Final = timedelta(minutes=10)
BATCH: Final = 20
MOST_EVENTS: Final = 500


class NotificationPreferences:
    """The topics that a member gets emails about. Owners and admins get all until they choose."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._authorization = Authorization(database, clock)

    @retry_on_conflict
    def get(self, principal: Principal) -> frozenset[Topic]:
        """Return the calling member's topics. Raises Forbidden for any other principal."""
        user_id = _require_member(principal)
        with self._database.read_once(principal.workspace_id) as tx:
            topics = rows.topics_chosen(tx, principal.workspace_id)
        assert principal.role is not None  # noqa: S101 - a member has one
        return topics.get(user_id, default_topics(principal.role))

    @retry_on_conflict
    def choose(self, principal: Principal, topics: Iterable[str]) -> frozenset[Topic]:
        """Set the calling member's topics. Raises Invalid for an unknown topic."""
        user_id, checked = _require_member(principal), check_topics(topics)
        with self._authorization.changing(principal) as (tx, _):
            rows.choose_topics(tx, principal.workspace_id, user_id, checked)
        return checked


@dataclass(frozen=True, slots=True)
class Digest:
    """The emails to one workspace's members, and the sequence of the last event that they report."""

    claimed: ClaimedDigest
    through: int
    emails: list[Email]
    at: datetime

    @property
    def name(self) -> str:
        """The item's name in the log."""
        return self.claimed.workspace_id

    @property
    def once(self) -> str:
        """A text that is unique to this sending."""
        return f"{self.claimed.workspace_id} {self.through}"


class NotificationDigests:
    """Claims, composes and settles digests. Each email is recorded once sent, so a retry repeats none of the others."""

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
        """Claim at most twenty digests that are due and that no other worker is sending."""
        now = self._clock.now()
        digests: list[Digest] = []
        for claimed in self._claim(now):
            try:
                digests.append(self._compose(claimed, now))
            except NotFound:
                pass  # the workspace was deleted meanwhile, and its digest with it
            except Exception as error:  # noqa: BLE001 - the other workspaces are not at fault
                # A StorageError too: the database may cancel what takes too long in one workspace. If it
                # is away altogether, this write fails as well, and the run ends.
                self._fail(claimed, error)
        return digests

    @retry_on_conflict
    def note(self, digest: Digest, email: Email) -> bool:
        """Record that an email was sent, and extend the lease. Returns False if another worker has it."""
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            until = self._clock.now() + LEASE
            return rows.note_letter(tx, digest.claimed, email.user_id, digest.through, until)

    @retry_on_conflict
    def settle(self, digest: Digest) -> None:
        """Record that the emails were sent, or that there was none to send."""
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            rows.settle_digest(tx, digest.claimed, digest.through, self._clock.now())

    def fail(self, digest: Digest, error: Exception) -> None:
        """Postpone what is left of a digest, or give it up after many failures."""
        self._fail(digest.claimed, error)

    @retry_on_conflict
    def wait(self, digest: Digest) -> None:
        """Try again in a while: the mail server is away, and the digest is not at fault."""
        claimed = digest.claimed
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            rows.postpone_digest(
                tx, claimed, self._clock.now() + SERVER_RETRY_DELAY, claimed.failures
            )

    @retry_on_conflict
    def _fail(self, claimed: ClaimedDigest, error: Exception) -> None:
        now, failures = self._clock.now(), claimed.failures + 1
        given_up = is_given_up(failures)
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            if given_up:
                rows.give_up_digest(tx, claimed, now)
            else:
                rows.postpone_digest(tx, claimed, now + retry_delay(failures), failures)
        self._on_failure(Failure(TASK, claimed.workspace_id, failures, given_up, error))

    @retry_on_conflict
    def _claim(self, now: datetime) -> list[ClaimedDigest]:
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            return rows.claim_digests(tx, now, now + LEASE, BATCH)

    @retry_on_conflict
    def _compose(self, claimed: ClaimedDigest, now: datetime) -> Digest:
        workspace_id, begin = claimed.workspace_id, claimed.reported_through
        with self._database.read(workspace_id) as tx:
            sent = rows.letters_sent(tx, workspace_id)
            unreported = _unreported(tx, claimed, min([begin, *sent.values()]))
            through = max(begin, unreported[-1].sequence) if unreported else begin
            workspace = NotFound.unless(workspaces.find_workspace(tx, workspace_id), "workspace")
            chosen = rows.topics_chosen(tx, workspace_id)
            members = workspaces.members_of(tx, workspace_id)
            # Members who are ahead got this digest's email at an earlier attempt.
            starts = {m.user.id: sent.get(m.user.id, begin) for m in members}
            waiting = [m for m in members if starts[m.user.id] <= begin]
            lines = {start: _lines(tx, unreported, start, now) for start in {*starts.values()}}
        emails: list[Email | None] = []
        for member in waiting:
            topics = chosen.get(member.user.id, default_topics(member.role))
            wanted = [line for line in lines[starts[member.user.id]] if line.topic in topics]
            emails.append(rules.compose(workspace.name, member, wanted, self._base_url))
        return Digest(claimed, through, [email for email in emails if email], now)


def _require_member(principal: Principal) -> UserId:
    if principal.kind is not PrincipalKind.MEMBER:
        raise Forbidden(Permission.READ, "Only members get notifications.")
    return UserId(principal.id)


def _unreported(tx: Tx, claimed: ClaimedDigest, after: int) -> list[Event]:
    """Return the newest events that weren't reported to every member yet, in their order."""
    newest = events.page_of_events(
        tx, claimed.workspace_id, limit=MOST_EVENTS, types=list(rules.TOPIC_OF)
    )
    return [event for event in reversed(newest) if event.sequence > after]


def _lines(tx: Tx, unreported: list[Event], after: int, now: datetime) -> list[DigestItem]:
    """Return one line for each type of event of each target: the last event counts."""
    news = {
        (event.type, event.target.id): event
        for event in unreported
        if event.sequence > after and rules.is_reportable(event, now)
    }
    lines = [rules.digest_item(event, _key_of(tx, event), now) for event in news.values()]
    return [line for line in lines if line is not None]


def _key_of(tx: Tx, event: Event) -> ApiKey | None:
    if event.target.type != "key":
        return None
    return keys.find_key(tx, event.workspace_id, KeyId(event.target.id))
