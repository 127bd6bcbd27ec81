"""The resources of the Operator API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final, Literal, Self

from keystead.domain import credentials, plans, rate_limits, workspaces
from keystead.domain.credentials import CredentialKind
from keystead.services.plans import WorkspaceUse
from keystead.services.rate_limits import OwnRates
from keystead.wire.policies import Policy
from keystead.wire.resources import Actor, Key, Quotas
from keystead.wire.schema import AsText, Instant, NextCursor, Resource, member

KINDS: Final[dict[CredentialKind, Literal["service", "operator"]]] = {
    CredentialKind.SERVICE: "service",
    CredentialKind.OPERATOR: "operator",
}


class ManagedWorkspace(Resource):
    """A workspace, as the operator of the installation sees it."""

    id: Annotated[str, member("The workspace's id.", "ws_02tcRIyrxLXTR81B3dqdOx")]
    name: Annotated[str, member("The name to display. It need not be unique.", "Acme")]
    plan: Annotated[str, member("The plan's id.", "team")]
    external_id: Annotated[
        str | None, member("The product's own id of the workspace. Null: none.", "customer-4711")
    ]
    created_at: Instant
    suspended_at: Annotated[
        Instant | None, member("Since when the workspace's keys are refused. Null: it is active.")
    ]

    @classmethod
    def of(cls, workspace: workspaces.Workspace, **more: Any) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            id=workspace.id,
            name=workspace.name,
            plan=workspace.plan_id,
            external_id=workspace.external_id,
            created_at=workspace.created_at,
            suspended_at=workspace.suspended_at,
            **more,
        )


class WorkspaceWithUse(ManagedWorkspace):
    """A workspace, its limits and their use."""

    overrides: Annotated[
        dict[str, int | None],
        member(
            "The workspace's own limits, which replace the plan's. Null: unlimited.",
            {"api_keys": 20},
        ),
    ]
    quotas: Annotated[Quotas, member("The effective limits and their use.")]

    @classmethod
    def measured(cls, found: WorkspaceUse) -> Self:
        """Return the shape of the service's value."""
        quotas = Quotas.of(found.use.quotas)
        return cls.of(found.workspace, overrides=dict(found.overrides), quotas=quotas)


class ManagedWorkspaceList(Resource):
    """A page of workspaces, newest first."""

    items: list[ManagedWorkspace]
    next_cursor: NextCursor


class KeyOwner(Resource):
    """A key with its workspace, found by its token."""

    workspace: ManagedWorkspace
    key: Key


class Credential(Resource):
    """A credential of a service or an operator, without its token."""

    id: Annotated[str, member("The credential's id.", "op_02tcRIyrxLXTR81B3dqdOx")]
    kind: Annotated[
        Literal["service", "operator"],
        member("A service introspects tokens; an operator also has all calls of this document."),
    ]
    name: Annotated[str, member("What uses it.", "billing backend")]
    hint: Annotated[str, member("Prefix and last four characters of the token.", "ks_op_…laf3")]
    created_at: Instant
    created_by: Actor
    revoked_at: Annotated[Instant | None, member("Null: it is active.")]
    revoked_by: Annotated[str | None, member("The name of the operator that revoked it.")]

    @classmethod
    def of(cls, credential: credentials.Credential, **more: Any) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            id=credential.id,
            kind=KINDS[credential.kind],
            name=credential.name,
            hint=credential.hint,
            created_at=credential.created_at,
            created_by=Actor.of(credential.created_by),
            revoked_at=credential.revoked_at,
            revoked_by=credential.revoked_by,
            **more,
        )


class CreatedCredential(Credential):
    """A new credential with its token, which is shown only once."""

    token: Annotated[str, member("The whole token.")]


class CredentialList(Resource):
    """A page of credentials, newest first, revoked ones included."""

    items: list[Credential]
    next_cursor: NextCursor


class ManagedMember(Resource):
    """A person of a workspace, as the operator of the installation sees them."""

    id: Annotated[str, member("The user's id.", "usr_02tcRIyrxLXTR81B3dqdOx")]
    external_id: Annotated[
        str | None,
        member("The product's own id of the user. Null: they have an account here.", "user-4711"),
    ]
    name: Annotated[str, member("The name to display.", "Ada")]
    email: Annotated[str | None, member("The address for notices.", "ada@example.com")]
    role: Annotated[workspaces.Role, AsText]
    joined_at: Instant | None

    @classmethod
    def of(cls, member: workspaces.Member) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            id=member.user.id,
            external_id=member.user.portal_user_id,
            name=member.user.name,
            email=member.user.email,
            role=member.role,
            joined_at=member.joined_at,
        )


class ManagedMemberList(Resource):
    """A page of members, newest first."""

    items: list[ManagedMember]
    next_cursor: NextCursor


class Limits(Resource):
    """The numbers that a workspace may have of each resource. Null: unlimited."""

    api_keys: int | None
    collections: int | None
    documents: int | None
    webhooks: int | None
    members: int | None


class RateLimits(Resource):
    """Requests per minute, of a workspace and of each of its keys. Null: unlimited."""

    workspace_per_minute: int | None
    key_per_minute: int | None

    @classmethod
    def of(cls, rates: rate_limits.RateLimits) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            workspace_per_minute=rates.workspace_per_minute, key_per_minute=rates.key_per_minute
        )


class OwnRateLimits(Resource):
    """The rate limits that a workspace has of its own, and those that apply. Null: the plan's applies."""

    workspace_per_minute: int | None
    key_per_minute: int | None
    effective: Annotated[RateLimits, member("With the plan's. Null: unlimited.")]

    @classmethod
    def of(cls, rates: OwnRates) -> Self:
        """Return the shape of the service's value."""
        return cls(
            workspace_per_minute=rates.own.workspace_per_minute,
            key_per_minute=rates.own.key_per_minute,
            effective=RateLimits.of(rates.effective),
        )


class KeyRateLimits(Resource):
    """The rate limit that a key has of its own, and those that apply."""

    per_minute: Annotated[int | None, member("Null: the workspace's or the plan's applies.")]
    effective: Annotated[
        RateLimits, member("With those of the workspace and the plan. Null: unlimited.")
    ]


class PlanWithLimits(Resource):
    """A plan with its limits."""

    id: Annotated[str, member("The plan's id.", "team")]
    name: Annotated[str, member("The name to display.", "Team")]
    limits: Limits
    rate_limits: RateLimits
    policy: Annotated[Policy, member("What keys of workspaces on this plan may be.")]

    @classmethod
    def of(cls, plan: plans.Plan) -> Self:
        """Return the shape of the domain's value."""
        rates = RateLimits.of(plan.rate_limits)
        return cls(
            id=plan.id,
            name=plan.name,
            limits=Limits(**asdict(plan.limits)),
            rate_limits=rates,
            policy=Policy.of(plan.policy),
        )


class PlanReport(Resource):
    """What replacing all plans changes."""

    items: list[PlanWithLimits]
    changes: Annotated[
        list[str],
        member("One line for each plan that changes.", ["~ free: api_keys 5 -> 3"]),
    ]
    loosens: Annotated[
        bool, member("Whether a plan is removed, a limit grows, or a policy allows more.")
    ]
    applied: Annotated[bool, member("False: it was a dry run.")]


class PlanList(Resource):
    """All plans of the installation, from small to large."""

    items: list[PlanWithLimits]
    next_cursor: Annotated[None, member("Always null: the list has a single page.")]
