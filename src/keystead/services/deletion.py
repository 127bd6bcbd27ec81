"""Deletion of workspaces: hidden with the request that deletes one, purged in small batches by every server's task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from keystead.domain.errors import NotFound, NotSuspended
from keystead.domain.events import NO_ORIGIN, InstallationEventType, Origin, Target
from keystead.domain.ids import WorkspaceId
from keystead.domain.principals import Actor
from keystead.domain.versions import IfMatch, require_match
from keystead.services.authorization import Authorization
from keystead.services.isolation import Isolation, OnFailure
from keystead.services.workspaces import OPERATOR
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import deletion as rows
from keystead.storage.tables import workspaces
from keystead.storage.tables.events import append_installation_event

TASK: Final = "workspace_deletions"
BATCH: Final = 500


class Deletion:
    """The end of a tenant. Only a tombstone stays: its id, the product's own id, and the time."""

    def __init__(
        self, database: Database, clock: Clock, on_failure: OnFailure | None = None
    ) -> None:
        self._database = database
        self._authorization = Authorization(database, clock)
        self._isolation = Isolation[WorkspaceId](TASK, clock, on_failure)

    def delete(
        self,
        workspace_id: WorkspaceId,
        actor: Actor = OPERATOR,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> None:
        """Hide a suspended workspace, irreversibly; its rows are purged later. Again: nothing happens.

        Raises:
            ChangedMeanwhile: The workspace has another version.
            NotSuspended: The workspace is not suspended.
            NotFound: There never was such a workspace.
        """
        try:
            self._delete(workspace_id, actor, origin, if_match)
        except NotFound:
            if not self._is_deleted(workspace_id):
                raise

    @retry_on_conflict
    def _delete(
        self, workspace_id: WorkspaceId, actor: Actor, origin: Origin, if_match: IfMatch | None
    ) -> None:
        with self._authorization.operating(actor, origin, workspace_id, revokes=True) as (tx, act):
            workspace = NotFound.unless(workspaces.find_workspace(tx, workspace_id), "workspace")
            require_match(if_match, workspace.version)
            if workspace.suspended_at is None:
                raise NotSuspended("Only a suspended workspace can be deleted. Suspend it first.")
            rows.bury(tx, workspace, act.at)
            type, target = (
                InstallationEventType.WORKSPACE_DELETED,
                Target("workspace", workspace_id),
            )
            data = {"external_id": workspace.external_id}
            append_installation_event(tx, type, act, target, data)

    def purge(self) -> int:
        """Delete the rows of deleted workspaces. Returns of how many workspaces.

        Each batch is a transaction of its own, so others' changes get their turn between two batches, and a server
        that is killed leaves whole rows, which the next run deletes.
        """
        return sum(self._isolation.each(self._unpurged(), self._purge))

    def _purge(self, workspace_id: WorkspaceId) -> bool:
        for delete, keeps_access in (
            (rows.delete_contents, True),
            (rows.delete_keys, False),
            (rows.delete_people, True),
        ):
            while more := self._delete_batch(workspace_id, delete, keeps_access):
                pass
            if more is None:
                return False
        return self._finish(workspace_id)

    @retry_on_conflict
    def _unpurged(self) -> list[WorkspaceId]:
        with self._database.read_across(Purpose.DELETION) as tx:
            return rows.unpurged_workspaces(tx)

    @retry_on_conflict
    def _is_deleted(self, workspace_id: WorkspaceId) -> bool:
        with self._database.read_across(Purpose.OPERATOR) as tx:
            return rows.has_tombstone(tx, workspace_id)

    @retry_on_conflict
    def _delete_batch(
        self,
        workspace_id: WorkspaceId,
        delete: Callable[[Tx, WorkspaceId, int], bool],
        keeps_access: bool,
    ) -> bool | None:
        """Return whether there may be more rows; None if another server is purging the workspace, which goes on."""
        with self._database.write_across(Purpose.DELETION, keeps_access=keeps_access) as tx:
            return delete(tx, workspace_id, BATCH) if rows.try_lock(tx, workspace_id) else None

    @retry_on_conflict
    def _finish(self, workspace_id: WorkspaceId) -> bool:
        """Delete the workspace's row. A foreign key refuses if a late writer added another: the next run goes on."""
        with self._database.write_across(Purpose.DELETION) as tx:
            locked = rows.try_lock(tx, workspace_id)
            if locked:
                rows.delete_workspace(tx, workspace_id)
        return locked
