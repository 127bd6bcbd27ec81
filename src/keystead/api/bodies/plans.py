"""The bodies of calls about plans and policies."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from keystead.api.bodies.body import Body, display_name
from keystead.domain.errors import Invalid
from keystead.domain.plans import MAX_LIMIT, PLAN_ID_PATTERN, Limits, Plan
from keystead.domain.policies import Policy
from keystead.domain.rate_limits import MAX_RATE, RateLimits
from keystead.wire.policies import (
    DEFAULT_LIFETIME,
    END_UNUSED,
    EXPIRY_REQUIRED,
    MAX_LIFETIME,
    RENEWAL_ALLOWED,
)
from keystead.wire.schema import member


class NewPolicy(Body):
    """A whole layer of a policy. Omitted or null: the layer says nothing about it."""

    max_lifetime_days: Annotated[int | None, MAX_LIFETIME] = None
    expiry_required: Annotated[bool | None, EXPIRY_REQUIRED] = None
    default_lifetime_days: Annotated[int | None, DEFAULT_LIFETIME] = None
    end_unused_days: Annotated[int | None, END_UNUSED] = None
    renewal_allowed: Annotated[bool | None, RENEWAL_ALLOWED] = None

    def policy(self) -> Policy:
        """Return the domain's value. Raises Invalid for days out of bounds."""
        return Policy.of(self.model_dump())


_Limit = Annotated[
    int | None, member("Omitted or null: unlimited.", 5, minimum=0, maximum=MAX_LIMIT)
]
_PlanRate = Annotated[
    int | None, member(f"Requests a minute: 1-{MAX_RATE}. Omitted or null: unlimited.", 600)
]


class PlanLimits(Body):
    """The numbers that a workspace may have of each resource."""

    api_keys: _Limit = None
    collections: _Limit = None
    documents: _Limit = None
    webhooks: _Limit = None
    members: _Limit = None


class PlanRates(Body):
    """Requests per minute of a workspace and of each of its keys."""

    workspace_per_minute: _PlanRate = None
    key_per_minute: _PlanRate = None


class PutPlan(Body):
    """A plan."""

    id: Annotated[str, member("The plan's id.", "team", pattern=f"^{PLAN_ID_PATTERN}$")]
    name: Annotated[str, display_name("The name to display.", "Team")]
    limits: Annotated[PlanLimits, member("Omitted: all unlimited.")] = PlanLimits()
    rate_limits: Annotated[PlanRates, member("Omitted: both unlimited.")] = PlanRates()
    policy: Annotated[NewPolicy, member("Omitted: it says nothing.")] = NewPolicy()

    def plan(self, position: int) -> Plan:
        """Return the domain's value. Raises Invalid for days of the policy out of bounds."""
        limits = Limits(**self.limits.model_dump())
        rates = RateLimits(**self.rate_limits.model_dump())
        try:
            policy = self.policy.policy()
        except Invalid as error:
            root = f"/plans/{position}/policy"
            places = [replace(each, pointer=f"{root}{each.pointer}") for each in error.errors]
            raise Invalid(places) from None
        return Plan(self.id, self.name, limits, position, rates, policy)


class PutPlans(Body):
    """All plans of the installation, from small to large."""

    plans: Annotated[list[PutPlan], member("As `GET` returns them.", minItems=1)]

    def all(self) -> list[Plan]:
        """Return the domain's values."""
        return [plan.plan(position) for position, plan in enumerate(self.plans)]
