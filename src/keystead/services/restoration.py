"""After a restore: find the revocations that the backup doesn't know of, and repeat or prepare them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from keystead.domain.errors import KeysteadError, NotFound, StorageError
from keystead.domain.events import Act, EventType, Target
from keystead.domain.ids import CredentialId, KeyId, UserId, WebhookId, WorkspaceId
from keystead.domain.invitations import Invitation
from keystead.domain.principals import Actor, Principal, operator
from keystead.domain.revocation_log import (
    CREDENTIAL_REVOKED,
    WORKSPACE_DELETED,
    RevocationEntry,
)
from keystead.domain.webhooks import WebhookPatch, WebhookStatus
from keystead.domain.workspaces import Member, Role
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.freshness import revocation_log as rows
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events, invitations, key_lifecycle, sessions, users, workspaces

if TYPE_CHECKING:
    from keystead.services.credentials import Credentials
    from keystead.services.deletion import Deletion
    from keystead.services.first_uses import FirstUses
    from keystead.services.invitations import Invitations
    from keystead.services.keys import Keys
    from keystead.services.members import Members
    from keystead.services.webhooks import Webhooks
    from keystead.services.workspaces import Workspaces

LOOKED_AT: Final = 10_000
"""The newest revocations, each of which is looked up; older ones are judged by the numbers of events alone."""
_PAGE: Final = 200


@dataclass
class Redone:
    """The report: what was repeated, by kind; what people have to set up again; what needs a look."""

    done: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    named: list[str] = field(default_factory=list)
    to_look_at: list[str] = field(default_factory=list)


@retry_on_conflict
def forgotten(database: Database, entries: Sequence[RevocationEntry]) -> list[RevocationEntry]:
    """Return the revocations that this database doesn't know of; none if it is the one they were written to.

    Events of a workspace are numbered without gaps, so a lower last number is an older state. The revocations are
    looked up too, for a database that was restored and has written new events since.
    """
    newest = entries[-LOOKED_AT:]
    with database.read_across(Purpose.OPERATOR) as tx:
        numbered = {entry.workspace_id for entry in entries if entry.sequence}
        numbers = rows.last_events(tx, numbered)
        deleted = rows.deleted_among(tx, numbered)
        undeleted = rows.undeleted_workspaces(tx, entries)
        credentials = rows.unrevoked_credentials(tx, newest)
    with database.read_across(Purpose.SERVER) as tx:
        keys = rows.unrevoked_keys(tx, newest)
    alive: dict[str, set[str]] = {
        EventType.KEY_REVOKED: keys,
        CREDENTIAL_REVOKED: credentials,
        WORKSPACE_DELETED: undeleted,
    }
    return [
        entry
        for entry in entries
        # A tombstone stands for all that happened in its workspace, whose events are gone.
        if entry.workspace_id not in deleted
        and (
            entry.target_id in alive.get(entry.type, ())
            or entry.sequence > numbers.get(entry.workspace_id, 0)
        )
    ]


class Restoration:
    """Repeats, as the operator, the revocations that an older database has forgotten."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        workspaces: Workspaces,
        deletion: Deletion,
        members: Members,
        credentials: Credentials,
        invitations: Invitations,
        webhooks: Webhooks,
        first_uses: FirstUses,
        clock: Clock,
    ) -> None:
        self._database = database
        self._keys = keys
        self._workspaces = workspaces
        self._deletion = deletion
        self._members = members
        self._credentials = credentials
        self._invitations = invitations
        self._webhooks = webhooks
        self._first_uses = first_uses
        self._clock = clock

    def redo(self, entries: Sequence[RevocationEntry], actor: Actor) -> Redone:
        """Repeat every act, in order. What no longer exists is counted as unknown.

        A key that was updated or rotated since the backup is revoked: its present scopes and expiry are unknown. But
        one that only renewed itself, before the backup, ends as it did with the first use of its successor.
        """
        redone = Redone()
        for entry in entries:
            principal, repeat = operator(actor.name, entry.workspace_id), _REPEAT.get(entry.type)
            if repeat is None:  # written by a newer version
                redone.to_look_at.append(f"{entry.type} {entry.target_id}: unknown to this version")
                continue
            with _reporting(redone, f"{entry.type} {entry.target_id}"):
                repeat(self, principal, entry, redone)
        return redone

    def hold(self, actor: Actor) -> int:
        """Suspend every workspace until a person has looked at it. Returns how many were not suspended."""
        held, before = 0, None
        while True:
            page = self._workspaces.list(limit=_PAGE, before=before)
            for workspace in page.items:
                if workspace.suspended_at is None:
                    self._workspaces.suspend(workspace.id, actor)
                    held += 1
            if page.next is None:
                return held
            before = page.next

    @retry_on_conflict
    def _open_invitations(self) -> Sequence[Invitation]:
        with self._database.read_across(Purpose.PEOPLE) as tx:
            return invitations.all_open_invitations(tx, self._clock.now())

    @retry_on_conflict
    def end_sessions(self) -> int:
        """End every session and sign-in link: which had ended is unknown. Returns how many people were signed in."""
        with self._database.write_across(Purpose.PEOPLE) as tx:
            return rows.end_all_sessions(tx)

    @retry_on_conflict
    def forget_announced_ends(self) -> None:
        """Give unused keys their notice again: uses since the backup are unknown."""
        with self._database.write_across(Purpose.WORKER, keeps_access=True) as tx:
            key_lifecycle.forget_announced_ends(tx)

    def revoke_invitations(self, actor: Actor, redone: Redone) -> None:
        """Revoke every open invitation: which were used or revoked since the backup is unknown."""
        for invitation in self._open_invitations():
            email, workspace_id = invitation.email, invitation.workspace_id
            with _reporting(redone, f"Invitation {invitation.id} of {email}"):
                self._invitations.revoke(operator(actor.name, workspace_id), invitation.id)
                redone.done["invitations revoked"] += 1
                redone.named.append(
                    f"Invitation of {email} as {invitation.role} to {workspace_id}: revoked."
                    " Invite again if needed."
                )

    def _suspend(self, principal: Principal, entry: RevocationEntry, redone: Redone) -> None:
        self._workspaces.suspend(WorkspaceId(entry.target_id), principal.actor)
        redone.done["workspaces suspended"] += 1

    def _resume(self, principal: Principal, entry: RevocationEntry, redone: Redone) -> None:
        self._workspaces.resume(WorkspaceId(entry.target_id), principal.actor)
        redone.done["workspaces suspended"] -= 1

    def _delete_workspace(
        self, principal: Principal, entry: RevocationEntry, redone: Redone
    ) -> None:
        workspace_id = WorkspaceId(entry.target_id)
        self._workspaces.suspend(workspace_id, principal.actor)
        self._deletion.delete(workspace_id, principal.actor)
        redone.done["workspaces deleted"] += 1

    def _remove_member(self, principal: Principal, entry: RevocationEntry, redone: Redone) -> None:
        self._members.remove(principal, UserId(entry.target_id))
        redone.done["members removed"] += 1

    def _revoke_credential(
        self, principal: Principal, entry: RevocationEntry, redone: Redone
    ) -> None:
        self._credentials.revoke(CredentialId(entry.target_id), principal.actor)
        redone.done["credentials revoked"] += 1

    def _delete_webhook(self, principal: Principal, entry: RevocationEntry, redone: Redone) -> None:
        self._webhooks.delete(principal, WebhookId(entry.target_id))
        redone.done["webhooks deleted"] += 1

    def _lower_role(self, principal: Principal, entry: RevocationEntry, redone: Redone) -> None:
        """Give the member the recorded role if it is a lesser one. A greater one is an owner's to give."""
        member, role = self._members.get(principal, UserId(entry.target_id)), entry.detail
        who = f"{member.user.name} ({member.user.id}) of {member.workspace_id}"
        if not role:  # written by a version that did not record it
            redone.to_look_at.append(f"{who} is {member.role}, as before a change of their role")
        elif _is_less(Role(role), member.role):
            self._members.change_role(principal, member.user.id, Role(role))
            redone.done["roles lowered"] += 1
            redone.named.append(f"{who}: {role} again.")

    def _unset_password(self, principal: Principal, entry: RevocationEntry, redone: Redone) -> None:
        self._withdraw_sign_in(UserId(entry.target_id), principal.actor, redone, email=False)

    def _unset_email(self, principal: Principal, entry: RevocationEntry, redone: Redone) -> None:
        self._withdraw_sign_in(UserId(entry.target_id), principal.actor, redone, email=True)

    @retry_on_conflict
    def _withdraw_sign_in(
        self, user_id: UserId, actor: Actor, redone: Redone, *, email: bool
    ) -> None:
        """Unset the password of a user who changed it, and with `email` the email of a user who changed that.

        The backup brought the old ones back, and an attacker may have been the reason for the change.
        """
        with self._database.write_across(Purpose.PEOPLE) as tx:
            user = users.find_user(tx, user_id)
            if user is None:
                raise NotFound
            had_password = user.password_set_at is not None
            if not (had_password or (email and user.email)):
                return
            users.withdraw_sign_in(tx, user_id, email=email)
            sessions.delete_devices(tx, user_id)
            act = Act(actor, self._clock.now())
            for member in workspaces.memberships_of(tx, user_id):
                _record_withdrawal(tx, member, act, password=had_password, email=email)
        who = f"{user.name} ({user_id})"
        if had_password:
            redone.done["passwords unset"] += 1
            redone.named.append(
                f"Password of {who}: unset. A sign-in link lets them set a new one."
            )
        if email and user.email:
            redone.done["email addresses removed"] += 1
            redone.named.append(
                f"Email of {who}: {user.email} removed. They can enter theirs again."
            )

    def _disable_webhook(
        self, principal: Principal, entry: RevocationEntry, redone: Redone
    ) -> None:
        """Disable the webhook until a person has checked the URL, events, headers and secret of the backup."""
        endpoint = self._webhooks.get(principal, WebhookId(entry.target_id))
        if endpoint.status is WebhookStatus.ACTIVE:
            patch = WebhookPatch(status=WebhookStatus.DISABLED)
            self._webhooks.update(principal, endpoint.id, patch)
            redone.done["webhooks disabled"] += 1
            redone.named.append(
                f"Webhook {endpoint.name} ({endpoint.id}) of {endpoint.workspace_id}: disabled. Check its URL, events,"
                " headers and secret, then enable it."
            )

    def _revoke_key(self, principal: Principal, entry: RevocationEntry, redone: Redone) -> None:
        key = self._keys.get(principal, KeyId(entry.target_id))
        successor_id = KeyId(entry.detail)
        if key.rotated_to == successor_id and self._first_uses.commit(principal, successor_id):
            # It renewed itself before the backup, and its successor was first used since.
            redone.done["renewals completed"] += 1
        elif key.revoked_at is None:
            self._keys.revoke(principal, key.id)
            redone.done["keys revoked"] += 1


@contextmanager
def _reporting(redone: Redone, what: str) -> Iterator[None]:
    """Report what fails inside, so that it holds up nothing else: a restore must reach its end.

    Raises:
        StorageError: The database is away; the restore has to be run again.
    """
    try:
        yield
    except StorageError:
        raise
    except NotFound:
        redone.unknown += 1
    except KeysteadError as refusal:
        redone.to_look_at.append(f"{what}: {refusal.detail}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the next act may be fine
        # Only the type: the text of an error may quote what is stored.
        redone.to_look_at.append(f"{what}: failed ({type(error).__name__}); do it by hand")


def _nothing(_: Restoration, __: Principal, ___: RevocationEntry, ____: Redone) -> None:
    """Do nothing: every open invitation is revoked in any case."""


_REPEAT: Final[Mapping[str, Callable[[Restoration, Principal, RevocationEntry, Redone], None]]] = {
    EventType.KEY_REVOKED: Restoration._revoke_key,
    EventType.KEY_ROTATED: Restoration._revoke_key,
    EventType.KEY_UPDATED: Restoration._revoke_key,
    EventType.WORKSPACE_SUSPENDED: Restoration._suspend,
    EventType.WORKSPACE_RESUMED: Restoration._resume,
    EventType.MEMBER_REMOVED: Restoration._remove_member,
    EventType.MEMBER_ROLE_CHANGED: Restoration._lower_role,
    EventType.MEMBER_PASSWORD_CHANGED: Restoration._unset_password,
    EventType.MEMBER_EMAIL_CHANGED: Restoration._unset_email,
    EventType.MEMBER_INVITATION_REVOKED: _nothing,
    EventType.WEBHOOK_DELETED: Restoration._delete_webhook,
    EventType.WEBHOOK_UPDATED: Restoration._disable_webhook,
    EventType.WEBHOOK_SECRET_ROTATED: Restoration._disable_webhook,
    EventType.WEBHOOK_DISABLED: Restoration._disable_webhook,
    CREDENTIAL_REVOKED: Restoration._revoke_credential,
    WORKSPACE_DELETED: Restoration._delete_workspace,
}
"""What repeats each type of entry."""

_FROM_LEAST: Final = (Role.VIEWER, Role.DEVELOPER, Role.ADMIN, Role.OWNER)


def _is_less(role: Role, other: Role) -> bool:
    return _FROM_LEAST.index(role) < _FROM_LEAST.index(other)


def _record_withdrawal(tx: Tx, member: Member, act: Act, *, password: bool, email: bool) -> None:
    """Record what was withdrawn, so that the revocation log has it for the next restore too."""
    target = Target("member", member.user.id)
    if password:
        data: dict[str, object] = {"name": member.user.name, "unset": True}
        events.append_event(
            tx, member.workspace_id, EventType.MEMBER_PASSWORD_CHANGED, act, target, data
        )
    if email:
        data = {"from": member.user.email, "to": None}
        events.append_event(
            tx, member.workspace_id, EventType.MEMBER_EMAIL_CHANGED, act, target, data
        )
