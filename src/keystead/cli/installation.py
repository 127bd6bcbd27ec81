"""The installation on this machine, opened for one command."""

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
    from keystead.settings import Settings


@contextmanager
def opened(place: Place) -> Iterator[Installation]:
    """The installation of that place, checked as `serve` checks it, and closed at the end."""
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


def note_rate_limits_off(settings: Settings) -> None:
    """Warn that a rate limit has no effect, when this machine's settings turn rate limits off."""
    if settings.rate_limits is None:
        note(
            "Rate limits are off, so this has no effect yet. To turn them on, set rate_limits"
            " (KEYSTEAD_RATE_LIMITS) for the servers."
        )


def _require_begun(settings: Settings) -> None:
    """Failure where the embedded database is not there: a command in the wrong folder makes nothing."""
    from keystead.bootstrap import database_file, has_begun

    if not has_begun(settings):
        raise Failure(
            f"There is no Keystead in {database_file(settings).parent.resolve()}. Name its folder with --data"
            " or its database with --database, or begin a new one with `keystead serve` or `keystead migrate`.",
            Exit.CONFIGURATION,
        )


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
    found = services.workspaces.list(limit=2).workspaces
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
