"""What the calls of the product's own services take, portal sessions aside."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from keystead.api.bodies import Body
from keystead.domain.plans import LIMIT_NAMES, MAX_LIMIT
from keystead.domain.workspaces import MAX_NAME
from keystead.wire.schema import member


class NewOwner(Body):
    """The person who owns a new workspace."""

    name: Annotated[str, member("What to show.", "Ann", minLength=1, maxLength=MAX_NAME)]
    email: Annotated[
        str | None,
        member(
            "Their address, which signs in one person. Omitted or null: none.", "ann@example.com"
        ),
    ] = None


class NewWorkspace(Body):
    """A workspace as it is asked for."""

    name: Annotated[
        str,
        member("For people; it need not be unique.", "Acme", minLength=1, maxLength=MAX_NAME),
    ]
    plan: Annotated[
        str | None, member("The id of its plan. Omitted or null: the smallest.", "team")
    ] = None
    owner: Annotated[
        NewOwner | None, member("Who owns it, and may sign in. Omitted or null: nobody yet.")
    ] = None


class WorkspaceChange(Body):
    """What is to change of a workspace; what is omitted stays."""

    name: Annotated[str, member("For people.", "Acme", minLength=1, maxLength=MAX_NAME)] = ""


class PlanAssignment(Body):
    """The plan that a workspace is to be on, and the limits that it is to have of its own."""

    plan: Annotated[str, member("The plan's id.", "team")]
    overrides: Annotated[
        dict[str, int | None],
        member(
            "Limits that hold instead of the plan's; null is unlimited. Omitted: none, whatever was there before.",
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
