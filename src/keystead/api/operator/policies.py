"""Calls of the Operator API for the policy of a workspace: read it, and set the operator's layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keystead.api.bodies.plans import NewPolicy
from keystead.api.calls import OperatorCall
from keystead.api.operations import OPERATOR, WITHIN, WORKSPACE, Operations, Reply
from keystead.domain.ids import WorkspaceId
from keystead.wire.policies import PolicyLayers


def _version(call: OperatorCall, path: Mapping[str, str]) -> int:
    return call.services.policies.of_workspace(WorkspaceId(path["workspace"])).version


MANAGED_POLICIES: Final = Operations(
    f"{WITHIN}/policy",
    "managed workspaces",
    OPERATOR,
    path_parameters=(WORKSPACE,),
    find_version=_version,
)


@MANAGED_POLICIES.call("GET", "", "Get a workspace's policy", has_etag=True)
def get_workspace_policy(call: OperatorCall, workspace: str) -> Reply[PolicyLayers]:
    """Return what the workspace's keys may be: the policy that holds, and its three layers."""
    layers = call.services.policies.of_workspace(WorkspaceId(workspace))
    return Reply(PolicyLayers.of(layers), layers.version)


@MANAGED_POLICIES.call("PUT", "", "Set a workspace's policy", if_match=True, has_etag=True)
def set_workspace_policy(
    call: OperatorCall, workspace: str, body: NewPolicy
) -> Reply[PolicyLayers]:
    """Replace the operator's whole layer. It never changes existing keys, except that it may end unused ones."""
    layers = call.services.policies.replace_operators(
        WorkspaceId(workspace), body.policy(), call.credential.actor, call.origin, call.if_match
    )
    return Reply(PolicyLayers.of(layers), layers.version)
