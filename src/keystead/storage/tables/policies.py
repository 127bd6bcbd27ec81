"""The layers of policies: a workspace's two, and its plan's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, select, update

from keystead.domain.errors import NotFound
from keystead.domain.ids import WorkspaceId
from keystead.domain.policies import Policy, PolicyLayer, PolicyLayers
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.tables import plans, workspaces

POLICY_COLUMNS: Final = (
    plans.c.policy,
    workspaces.c.operator_policy,
    workspaces.c.owner_policy,
    workspaces.c.policy_version,
)
"""What `layers_of` takes."""

_LAYERS: Final = select(*POLICY_COLUMNS).join(plans, workspaces.c.plan_id == plans.c.id)
_ONE: Final = Query(_LAYERS.where(workspaces.c.id == bindparam("workspace")))
_SOME: Final = Query(
    _LAYERS.add_columns(workspaces.c.id).where(
        workspaces.c.id.in_(bindparam("workspaces", expanding=True))
    )
)
_REPLACE: Final = update(workspaces).where(workspaces.c.id == bindparam("workspace"))


def layers_of(row: Sequence[Any]) -> PolicyLayers:
    """Return the layers that these columns have."""
    plan, operator, owner, version = row
    return PolicyLayers(Policy(**plan), Policy(**operator), Policy(**owner), version)


def find_layers(tx: Tx, workspace_id: WorkspaceId) -> PolicyLayers:
    """Return the layers of the workspace's policy. Raises NotFound."""
    row = _ONE.first(tx, {"workspace": workspace_id})
    return layers_of(NotFound.unless(row, "workspace"))


def find_policies(tx: Tx, workspace_ids: Collection[WorkspaceId]) -> dict[WorkspaceId, Policy]:
    """Return the effective policies of these workspaces."""
    rows = _SOME.all(tx, {"workspaces": list(workspace_ids)})
    return {WorkspaceId(id): layers_of(layers).effective for *layers, id in rows}


def replace_layer(
    tx: Tx, workspace_id: WorkspaceId, layer: PolicyLayer, policy: Policy, version: int
) -> None:
    """Replace one layer of the workspace's policy, under the workspace's lock."""
    changed = {f"{layer}_policy": policy.said(), "policy_version": version}
    tx.execute(_REPLACE, {"workspace": workspace_id, **changed})
