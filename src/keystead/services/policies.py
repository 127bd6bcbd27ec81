"""Policies of workspaces: read the layers with what they amount to, and replace the operator's or the owner's."""

from __future__ import annotations

from keystead.domain.errors import NotFound
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin, Target
from keystead.domain.ids import WorkspaceId
from keystead.domain.policies import Policy, PolicyLayer, PolicyLayers
from keystead.domain.principals import Actor, Principal
from keystead.domain.roles import Permission
from keystead.domain.scopes import PLAN_READ
from keystead.domain.versions import IfMatch, require_match
from keystead.services.authorization import Authorization
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events, workspaces
from keystead.storage.tables import policies as rows


class Policies:
    """What the keys of workspaces may be. A change binds later acts, never existing keys."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._authorization = Authorization(database, clock)

    @retry_on_conflict
    def get(self, principal: Principal) -> PolicyLayers:
        """Return the layers of the principal's workspace."""
        principal.require(PLAN_READ)
        with self._database.read_once(principal.workspace_id) as tx:
            return rows.find_layers(tx, principal.workspace_id)

    @retry_on_conflict
    def of_workspace(self, workspace_id: WorkspaceId) -> PolicyLayers:
        """Return the layers of a workspace, for the operator. Raises NotFound."""
        with self._database.read(workspace_id) as tx:
            NotFound.unless(workspaces.find_workspace(tx, workspace_id), "workspace")
            return rows.find_layers(tx, workspace_id)

    @retry_on_conflict
    def replace_operators(
        self,
        workspace_id: WorkspaceId,
        policy: Policy,
        actor: Actor,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> PolicyLayers:
        """Replace the operator's whole layer. If nothing changes, there is no event. Raises NotFound."""
        with self._authorization.operating(actor, origin, workspace_id) as (tx, act):
            NotFound.unless(workspaces.find_workspace(tx, workspace_id), "workspace")
            return _replace(tx, workspace_id, PolicyLayer.OPERATOR, policy, act, if_match)

    @retry_on_conflict
    def replace_owners(
        self, principal: Principal, policy: Policy, origin: Origin = NO_ORIGIN
    ) -> PolicyLayers:
        """Replace the whole layer of the workspace's owners. If nothing changes, there is no event."""
        with self._authorization.changing(principal, origin, Permission.SET_POLICY) as (tx, act):
            return _replace(tx, principal.workspace_id, PolicyLayer.OWNER, policy, act)


def _replace(
    tx: Tx,
    workspace_id: WorkspaceId,
    layer: PolicyLayer,
    policy: Policy,
    act: Act,
    if_match: IfMatch | None = None,
) -> PolicyLayers:
    before = rows.find_layers(tx, workspace_id)
    require_match(if_match, before.version)
    if before.layer(layer) == policy:
        return before
    rows.replace_layer(tx, workspace_id, layer, policy, before.version + 1)
    data = {"layer": layer, "policy": policy.members()}
    target = Target("workspace", workspace_id)
    events.append_event(tx, workspace_id, EventType.WORKSPACE_POLICY_CHANGED, act, target, data)
    return rows.find_layers(tx, workspace_id)
