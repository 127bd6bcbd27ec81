"""Calls of policies: read them, as a workspace and as the operator, and set the operator's layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keystead.api.bodies import NewPolicy
from keystead.api.calls import Call, OperatorCall
from keystead.api.operations import OPERATOR, Operations, Reply, in_path
from keystead.domain.ids import WorkspaceId
from keystead.domain.scopes import PLAN_READ
from keystead.wire.policies import PolicyLayers


def _version(call: OperatorCall, path: Mapping[str, str]) -> int:
    return call.services.policies.of_workspace(WorkspaceId(path["id"])).version


POLICY: Final = Operations("/v1/policy", "plan")
MANAGED_POLICIES: Final = Operations(
    "/operator/v1/workspaces/{id}/policy",
    "managed workspaces",
    OPERATOR,
    path_parameters=(in_path("id", "The workspace's id.", "ws_02tcRIyrxLXTR81B3dqdOx"),),
    find_version=_version,
)


@POLICY.call("GET", "", "Get the policy", PLAN_READ)
def get_policy(call: Call) -> Reply[PolicyLayers]:
    """Return what the workspace's keys may be: the policy that holds, and its three layers.

    It decides about keys that are created or extended from now on. Existing keys keep what they have.
    """
    return Reply(PolicyLayers.of(call.services.policies.get(call.principal)))


@MANAGED_POLICIES.call("GET", "", "Get a workspace's policy", has_etag=True)
def get_workspace_policy(call: OperatorCall, id: str) -> Reply[PolicyLayers]:
    """Return what the workspace's keys may be: the policy that holds, and its three layers."""
    layers = call.services.policies.of_workspace(WorkspaceId(id))
    return Reply(PolicyLayers.of(layers), layers.version)


@MANAGED_POLICIES.call("PUT", "", "Set a workspace's policy", if_match=True, has_etag=True)
def set_workspace_policy(call: OperatorCall, id: str, body: NewPolicy) -> Reply[PolicyLayers]:
    """Replace the operator's whole layer. It never changes existing keys, except that it may end unused ones."""
    layers = call.services.policies.replace_operators(
        WorkspaceId(id), body.policy(), call.credential.actor, call.origin, call.if_match
    )
    return Reply(PolicyLayers.of(layers), layers.version)
