"""The shapes of policies, for both APIs."""

from __future__ import annotations

from typing import Annotated, Self

from keystead.domain import policies
from keystead.domain.policies import DAY_BOUNDS
from keystead.wire.schema import Resource, member


def days(name: str, description: str, example: int) -> object:
    """Describe the policy's member of that name, which counts days."""
    least, largest = DAY_BOUNDS[name]
    bounds = [{"type": "integer", "minimum": least, "maximum": largest}, {"type": "null"}]
    return member(description, example, anyOf=bounds)


MAX_LIFETIME = days(
    "max_lifetime_days", "The longest time from a key's creation to its expiry.", 90
)
EXPIRY_REQUIRED = member("Whether keys must expire. `max_lifetime_days` implies it.", True)
DEFAULT_LIFETIME = days(
    "default_lifetime_days", "The lifetime of a key for which no expiry was named.", 30
)
END_UNUSED = days(
    "end_unused_days",
    "After how long without use a key is revoked, 14 days after an event `key.unused` says so.",
    180,
)
RENEWAL_ALLOWED = member("Whether keys may renew themselves. Null: yes.", False)


class Policy(Resource):
    """What keys may be. Null says nothing."""

    max_lifetime_days: Annotated[int | None, MAX_LIFETIME]
    expiry_required: Annotated[bool | None, EXPIRY_REQUIRED]
    default_lifetime_days: Annotated[int | None, DEFAULT_LIFETIME]
    end_unused_days: Annotated[int | None, END_UNUSED]
    renewal_allowed: Annotated[bool | None, RENEWAL_ALLOWED]

    @classmethod
    def of(cls, policy: policies.Policy) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            max_lifetime_days=policy.max_lifetime_days,
            expiry_required=policy.expiry_required,
            default_lifetime_days=policy.default_lifetime_days,
            end_unused_days=policy.end_unused_days,
            renewal_allowed=policy.renewal_allowed,
        )


class PolicyLayers(Resource):
    """A workspace's policy: what holds, and the layers of which the strictest holds."""

    effective: Annotated[Policy, member("What holds: the strictest of the three layers.")]
    plan: Annotated[Policy, member("The layer of the workspace's plan.")]
    operator: Annotated[Policy, member("The layer that the operator set for this workspace.")]
    owner: Annotated[Policy, member("The layer that an owner of the workspace set.")]

    @classmethod
    def of(cls, layers: policies.PolicyLayers) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            effective=Policy.of(layers.effective),
            plan=Policy.of(layers.plan),
            operator=Policy.of(layers.operator),
            owner=Policy.of(layers.owner),
        )
