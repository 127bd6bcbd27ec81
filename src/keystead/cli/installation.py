"""The installation on this machine: opened for one command, with its operator and workspace."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from keystead.cli.outcome import Exit, Failure
from keystead.cli.render import note

if TYPE_CHECKING:
    from keystead.bootstrap import Installation
    from keystead.cli.options import Place
    from keystead.domain.principals import Actor, Principal
    from keystead.domain.workspaces import Workspace
    from keystead.services import Services
    from keystead.settings import Settings

WorkspaceName = Annotated[
    str | None,
    Parameter(
        name=["--workspace", "-w"],
        help="The workspace's id or name. You can omit it if there is only one workspace.",
    ),
]


@contextmanager
def opened(place: Place) -> Iterator[Installation]:
    """Check an installation as `serve` does, open it, and close it at the end."""
    from keystead import bootstrap
    from keystead.settings import read_settings

    settings = read_settings(**asdict(place))
    _require_begun(settings)
    bootstrap.prepare(settings)
    installation = bootstrap.open_safely(settings)
    try:
        yield installation
    finally:
        installation.close()


def acting_on(services: Services, workspace: str | None) -> Principal:
    """Return the operator, acting on the workspace with that id or name; by default on the only one."""
    from keystead.domain.principals import operator

    return operator(account(), chosen(services, workspace).id)


def actor() -> Actor:
    """Return the operator as the actor of events, for changes of a workspace itself."""
    from keystead.domain.principals import Actor, PrincipalKind

    return Actor(PrincipalKind.OPERATOR, account(), account())


def chosen(services: Services, workspace: str | None) -> Workspace:
    """Return the workspace with that id or name; by default the only one. Failure if that is not clear."""
    if workspace is not None:
        return services.workspaces.named(workspace)
    workspaces = services.workspaces.list(limit=2).items
    if not workspaces:
        raise Failure("There is no workspace yet. Create one: `keystead workspaces create NAME`.")
    if len(workspaces) > 1:
        raise Failure(
            "There are several workspaces. Name one with --workspace"
            " (`keystead workspaces list` shows them).",
            Exit.USAGE,
        )
    return workspaces[0]


def account() -> str:
    """Return the name of the operating system's account that runs the command, for the audit log."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def note_rate_limits_off(settings: Settings) -> None:
    """Warn that a rate limit has no effect, when this machine's settings turn rate limits off."""
    if settings.rate_limits is None:
        note(
            "Rate limits are off, so this has no effect yet. To turn them on, set rate_limits"
            " (KEYSTEAD_RATE_LIMITS) for the servers."
        )


def _require_begun(settings: Settings) -> None:
    """Raise Failure if there is no embedded database: a command in the wrong folder must not create one."""
    from keystead.bootstrap import database_file, has_begun

    if not has_begun(settings):
        raise Failure(
            f"There is no Keystead in {database_file(settings).parent.resolve()}. Set its folder with --data"
            " or its database with --database, or start a new one with `keystead serve` or `keystead migrate`.",
            Exit.CONFIGURATION,
        )
