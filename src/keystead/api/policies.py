"""The call of a workspace's own policy."""

from __future__ import annotations

from typing import Final

from keystead.api.calls import Call
from keystead.api.operations import Operations, Reply
from keystead.domain.scopes import PLAN_READ
from keystead.wire.policies import PolicyLayers

POLICY: Final = Operations("/v1/policy", "plan")


@POLICY.call("GET", "", "Get the policy", PLAN_READ)
def get_policy(call: Call) -> Reply[PolicyLayers]:
    """Return what the workspace's keys may be: the policy that holds, and its three layers.

    It decides about keys that are created or extended from now on. Existing keys keep what they have.
    """
    return Reply(PolicyLayers.of(call.services.policies.get(call.principal)))
