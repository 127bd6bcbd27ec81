"""What the calls of the product's own services answer, portal sessions aside."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import PlainSerializer, WithJsonSchema

from keystead.domain import plans, rate_limits, workspaces
from keystead.domain.instants import format_instant
from keystead.services.plans import WorkspaceUse
from keystead.wire.resources import Quotas, Resource
from keystead.wire.schema import INSTANT_SCHEMA, member

_Instant = Annotated[
    datetime, PlainSerializer(format_instant, return_type=str), WithJsonSchema(INSTANT_SCHEMA)
]
_NextCursor = Annotated[str | None, member("The `cursor` of the next page; null at the end.")]


class ManagedWorkspace(Resource):
    """A workspace, as who runs the installation sees it."""

    id: Annotated[str, member("Its public name.", "ws_02tcRIyrxLXTR81B3dqdOx")]
    name: Annotated[str, member("For people; it need not be unique.", "Acme")]
    plan: Annotated[str, member("The id of its plan.", "team")]
    created_at: _Instant
    suspended_at: Annotated[
        _Instant | None, member("Since when its keys are refused. Null: they work.")
    ]

    @classmethod
    def of(cls, workspace: workspaces.Workspace, **more: Any) -> Self:
        """From the domain's value."""
        return cls(
            id=workspace.id,
            name=workspace.name,
            plan=workspace.plan_id,
            created_at=workspace.created_at,
            suspended_at=workspace.suspended_at,
            **more,
        )


class WorkspaceWithUse(ManagedWorkspace):
    """A workspace, its limits, and how much of each is used."""

    overrides: Annotated[
        dict[str, int | None],
        member("Limits of its own, instead of the plan's; null is unlimited.", {"api_keys": 20}),
    ]
    quotas: Annotated[Quotas, member("The limits that hold, each with its use.")]

    @classmethod
    def measured(cls, found: WorkspaceUse) -> Self:
        """From the service's value."""
        quotas = Quotas.of(found.use.quotas)
        return cls.of(found.workspace, overrides=dict(found.overrides), quotas=quotas)


class ManagedWorkspaceList(Resource):
    """One page of workspaces, newest first."""

    items: list[ManagedWorkspace]
    next_cursor: _NextCursor


class Limits(Resource):
    """How many of each a workspace may have; null is unlimited."""

    api_keys: int | None
    collections: int | None
    documents: int | None
    webhooks: int | None
    members: int | None


class RateLimits(Resource):
    """Requests a minute, of a workspace and of each of its keys; null is unlimited."""

    workspace_per_minute: int | None
    key_per_minute: int | None


class PlanWithLimits(Resource):
    """A plan that workspaces may be on."""

    id: Annotated[str, member("Its id.", "team")]
    name: Annotated[str, member("For people.", "Team")]
    limits: Limits
    rate_limits: RateLimits

    @classmethod
    def of(cls, plan: plans.Plan) -> Self:
        """From the domain's value."""
        limits = {name: plan.limits.get(name) for name in plans.LIMIT_NAMES}
        rates = {name: plan.rate_limits.get(name) for name in rate_limits.RATE_NAMES}
        return cls(
            id=plan.id,
            name=plan.name,
            limits=Limits(**limits),
            rate_limits=RateLimits(**rates),
        )


class PlanList(Resource):
    """Every plan of the installation, from small to large."""

    items: list[PlanWithLimits]
    next_cursor: Annotated[None, member("Null: they are never so many that they come in pages.")]
