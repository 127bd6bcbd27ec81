"""The bodies of calls about workspaces, their plans and rate limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from keystead.api.bodies.body import Body, display_name
from keystead.domain.plans import LIMIT_NAMES, MAX_LIMIT
from keystead.domain.rate_limits import MAX_RATE, RateLimits
from keystead.domain.workspaces import EXTERNAL_ID_PATTERN
from keystead.wire.schema import member


class NewOwner(Body):
    """The owner of a new workspace."""

    name: Annotated[str, display_name("The name to display.", "Ann")]
    email: Annotated[
        str | None,
        member(
            "The address that the owner signs in with. Omitted or null: none.", "ann@example.com"
        ),
    ] = None


class NewWorkspace(Body):
    """A workspace to create."""

    name: Annotated[str, display_name("The name to display. It need not be unique.", "Acme")]
    plan: Annotated[
        str | None, member("The plan's id. Omitted or null: the smallest plan.", "team")
    ] = None
    owner: Annotated[
        NewOwner | None,
        member("The person who owns the workspace and may sign in. Omitted or null: no owner yet."),
    ] = None


class PutWorkspace(Body):
    """The name and the plan of the workspace with an id of the product's own."""

    name: Annotated[str, display_name("The name to display. It need not be unique.", "Acme")]
    plan: Annotated[
        str | None,
        member(
            "The plan's id. Omitted or null: the smallest plan for a new workspace, else unchanged.",
            "team",
        ),
    ] = None


class WorkspaceChange(Body):
    """Changes to a workspace. Omitted members stay as they are."""

    name: Annotated[str, display_name("The name to display.", "Acme")] = ""
    external_id: Annotated[
        str,
        member(
            "The product's own id of the workspace, unique in the installation.",
            "customer-0815",
            pattern=f"^{EXTERNAL_ID_PATTERN}$",
        ),
    ] = ""


_Rate = Annotated[
    int | None,
    member(f"Requests a minute: 1-{MAX_RATE}. Omitted or null: the plan's applies.", 600),
]


class WorkspaceRateChange(Body):
    """The rate limits that a workspace has of its own."""

    workspace_per_minute: _Rate = None
    key_per_minute: _Rate = None

    def rates(self) -> RateLimits:
        """Return the domain's value."""
        return RateLimits(self.workspace_per_minute, self.key_per_minute)


class KeyRateChange(Body):
    """The rate limit that a key has of its own."""

    per_minute: _Rate = None


class PlanAssignment(Body):
    """The plan to put a workspace on, with limits of its own."""

    plan: Annotated[str, member("The plan's id.", "team")]
    overrides: Annotated[
        dict[str, int | None],
        member(
            "Limits that replace the plan's. Null: unlimited. Omitted: none, and previous ones are removed.",
            {"api_keys": 20},
            propertyNames={"enum": list(LIMIT_NAMES)},
            additionalProperties={
                "anyOf": [
                    {"type": "integer", "minimum": 0, "maximum": MAX_LIMIT},
                    {"type": "null"},
                ]
            },
        ),
    ] = Field(default_factory=dict)
