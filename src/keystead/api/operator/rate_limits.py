"""Calls of the Operator API for the rate limits of one workspace and of one key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keystead.api.bodies.workspaces import KeyRateChange, WorkspaceRateChange
from keystead.api.calls import Call
from keystead.api.operations import OPERATOR, WITHIN, WORKSPACE, Operations, Reply, in_path
from keystead.domain.ids import KeyId
from keystead.wire.operator import KeyRateLimits, OwnRateLimits, RateLimits


def _version(call: Call, path: Mapping[str, str]) -> int:
    if "id" in path:
        return call.services.keys.require(call.principal, KeyId(path["id"])).version
    return call.services.workspaces.get(call.principal.workspace_id).version


RATE_LIMITS: Final = Operations(
    WITHIN,
    "rate limits",
    OPERATOR,
    path_parameters=(WORKSPACE, in_path("id", "The key's id.", "key_02tcRIyrxLXTR81B3dqdOx")),
    find_version=_version,
)


@RATE_LIMITS.call("GET", "/rate-limits", "Get a workspace's rate limits", has_etag=True)
def get_workspace_rate_limits(call: Call) -> Reply[OwnRateLimits]:
    """Return the rate limits of the workspace itself, and those that apply with the plan's."""
    rates = call.services.workspace_rates.get(call.principal.workspace_id)
    return Reply(OwnRateLimits.of(rates), rates.version)


@RATE_LIMITS.call(
    "PUT", "/rate-limits", "Set a workspace's rate limits", if_match=True, has_etag=True
)
def set_workspace_rate_limits(call: Call, body: WorkspaceRateChange) -> Reply[OwnRateLimits]:
    """Replace the rate limits of the workspace itself. Servers apply them within five seconds."""
    rates = call.services.workspace_rates.set(
        call.principal, body.rates(), call.origin, call.if_match
    )
    return Reply(OwnRateLimits.of(rates), rates.version)


@RATE_LIMITS.call("GET", "/keys/{id}/rate-limits", "Get a key's rate limit", has_etag=True)
def get_key_rate_limits(call: Call, id: str) -> Reply[KeyRateLimits]:
    """Return the rate limit of the key itself, and those that apply with the workspace's and the plan's."""
    return _of_key(call, KeyId(id))


@RATE_LIMITS.call(
    "PUT", "/keys/{id}/rate-limits", "Set a key's rate limit", if_match=True, has_etag=True
)
def set_key_rate_limits(call: Call, id: str, body: KeyRateChange) -> Reply[KeyRateLimits]:
    """Replace the rate limit of the key itself. Its successors get it too. Servers apply it within five seconds."""
    call.services.key_rates.set(
        call.principal, KeyId(id), body.per_minute, call.origin, call.if_match
    )
    return _of_key(call, KeyId(id))


def _of_key(call: Call, id: KeyId) -> Reply[KeyRateLimits]:
    version = call.services.keys.require(call.principal, id).version
    own, effective = call.services.key_rates.get(call.principal, id)
    return Reply(KeyRateLimits(per_minute=own, effective=RateLimits.of(effective)), version)
