"""Who acts on this machine's own database, and on which workspace."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from keystead.cli.outcome import Exit, Failure

if TYPE_CHECKING:
    from keystead.domain.principals import Actor, Principal
    from keystead.domain.workspaces import Workspace
    from keystead.services import Services

WorkspaceName = Annotated[
    str | None,
    Parameter(
        name=["--workspace", "-w"],
        help="The workspace, by id or name. May be left out where there is only one.",
    ),
]


def acting_on(services: Services, workspace: str | None) -> Principal:
    """The operator, acting on the workspace of that id or name; on the only one where none is named."""
    from keystead.domain.principals import operator

    return operator(account(), chosen(services, workspace).id)


def actor() -> Actor:
    """The operator as events name them, where a workspace itself is made or changed."""
    from keystead.domain.principals import Actor, PrincipalKind

    return Actor(PrincipalKind.OPERATOR, account(), account())


def chosen(services: Services, workspace: str | None) -> Workspace:
    """The workspace of that id or name; the only one where none is named."""
    if workspace is not None:
        return services.workspaces.named(workspace)
    found = services.workspaces.list(limit=2).items
    if not found:
        raise Failure("There is no workspace yet; `keystead workspaces create NAME` makes one.")
    if len(found) > 1:
        raise Failure(
            "There are several workspaces: name one with --workspace"
            " (`keystead workspaces list` shows them).",
            Exit.USAGE,
        )
    return found[0]


def account() -> str:
    """The account of the operating system that the command runs as: who did it, for the audit log."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"
