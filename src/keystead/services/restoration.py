"""After a restore: what took authority away since the backup is found, and done again or held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from keystead.domain.endings import CREDENTIAL_REVOKED, Ending
from keystead.domain.errors import KeysteadError, NotFound, StorageError
from keystead.domain.events import EventType
from keystead.domain.ids import CredentialId, KeyId, UserId, WorkspaceId
from keystead.domain.principals import Actor, Principal, operator
from keystead.services.credentials import Credentials
from keystead.services.keys import Keys
from keystead.services.members import Members
from keystead.services.workspaces import Workspaces
from keystead.storage import endings as rows
from keystead.storage.anew import anew
from keystead.storage.database import Database
from keystead.storage.purposes import Purpose

LOOKED_AT: Final = 10_000
"""Of so many of the newest revocations it is asked whether they are still known; of older ones the numbers tell."""
_PAGE: Final = 200


@dataclass
class Redone:
    """What was done again: keys revoked, workspaces suspended and so on, by name; and what the owner has to look at."""

    done: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    to_look_at: list[str] = field(default_factory=list)


@anew
def forgotten(database: Database, endings: Sequence[Ending]) -> list[Ending]:
    """What this database does not know of: it is older than these acts. Nothing, where it is the one they were done in.

    Events of a workspace are numbered without gaps, so a lower last number is an older state. Revocations are looked
    at themselves too, for a database that was restored and has gone on since.
    """
    newest = endings[-LOOKED_AT:]
    with database.read_across(Purpose.OPERATOR) as tx:
        numbers = rows.last_events(tx, (one.workspace_id for one in endings if one.sequence))
        credentials = rows.credentials_alive(tx, newest)
    with database.read_across(Purpose.SERVER) as tx:
        keys = rows.keys_alive(tx, newest)
    alive = {EventType.KEY_REVOKED: keys, CREDENTIAL_REVOKED: credentials}
    return [
        one
        for one in endings
        if one.target_id in alive.get(one.type, ())
        or one.sequence > numbers.get(one.workspace_id, 0)
    ]


class Restoration:
    """Does again, as whoever runs the installation, what an older database has forgotten."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        workspaces: Workspaces,
        members: Members,
        credentials: Credentials,
    ) -> None:
        self._database = database
        self._keys = keys
        self._workspaces = workspaces
        self._members = members
        self._credentials = credentials

    def redo(self, endings: Sequence[Ending], actor: Actor) -> Redone:
        """Every act once more, in order. What is not there any more cannot be ended, and is counted as unknown.

        A key that was changed or rotated since is revoked: what it may do now, and until when, is not known any more.
        """
        redone = Redone()
        for one in endings:
            try:
                self._redo(one, actor, redone)
            except StorageError:
                raise
            except NotFound:
                redone.unknown += 1
            except KeysteadError as refused:
                redone.to_look_at.append(f"{one.type} {one.target_id}: {refused.detail}")
        return redone

    def hold(self, actor: Actor) -> int:
        """Suspends every workspace, until somebody has looked at it; how many were not suspended."""
        held, before = 0, None
        while True:
            page = self._workspaces.list(limit=_PAGE, before=before)
            for workspace in page.workspaces:
                if workspace.suspended_at is None:
                    self._workspaces.suspend(workspace.id, actor)
                    held += 1
            if page.next is None:
                return held
            before = page.next

    @anew
    def end_sessions(self) -> None:
        """Ends everybody's session, and takes back every sign-in link: which had ended is not known any more."""
        with self._database.write_across(Purpose.PEOPLE) as tx:
            rows.forget_sessions(tx)

    def _redo(self, one: Ending, actor: Actor, redone: Redone) -> None:
        acting = operator(actor.name, one.workspace_id)
        match one.type:
            case EventType.KEY_REVOKED | EventType.KEY_ROTATED | EventType.KEY_UPDATED:
                self._revoke(acting, KeyId(one.target_id), redone)
            case EventType.WORKSPACE_SUSPENDED:
                self._workspaces.suspend(WorkspaceId(one.target_id), actor)
                redone.done["workspaces suspended"] += 1
            case EventType.WORKSPACE_RESUMED:
                self._workspaces.resume(WorkspaceId(one.target_id), actor)
                redone.done["workspaces suspended"] -= 1
            case EventType.MEMBER_REMOVED:
                self._members.remove(acting, UserId(one.target_id))
                redone.done["members removed"] += 1
            case EventType.MEMBER_ROLE_CHANGED:
                member = self._members.get(acting, UserId(one.target_id))
                said = (
                    f"{member.user.name} is {member.role} of {one.workspace_id}, as before a change"
                )
                redone.to_look_at.append(said)
            case _ if one.type == CREDENTIAL_REVOKED:
                self._credentials.revoke(CredentialId(one.target_id), actor)
                redone.done["credentials revoked"] += 1

    def _revoke(self, acting: Principal, key_id: KeyId, redone: Redone) -> None:
        key = self._keys.get(acting, key_id)
        if key.revoked_at is None:
            self._keys.revoke(acting, key_id)
            redone.done["keys revoked"] += 1
