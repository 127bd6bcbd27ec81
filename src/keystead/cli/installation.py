"""The installation on this machine, opened for one command, and the operator who runs it."""

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
    from keystead.cli.options import Place, Where
    from keystead.domain.principals import Actor
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
    require_begun(settings)
    bootstrap.prepare(settings)
    installation = bootstrap.open_safely(settings)
    try:
        yield installation
    finally:
        installation.close()


def actor() -> Actor:
    """Return the operator as the actor of events, for changes of a workspace itself."""
    from keystead.domain.principals import Actor, PrincipalKind

    return Actor(PrincipalKind.OPERATOR, account(), account())


def account() -> str:
    """Return the name of the operating system's account that runs the command, for the audit log."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def note_rate_limits_off(where: Where) -> None:
    """Warn that a rate limit has no effect, when this machine's settings turn rate limits off."""
    from keystead.settings import read_settings

    if where.url is None and read_settings(**asdict(where.place)).rate_limits is None:
        note(
            "Rate limits are off, so this has no effect yet. To turn them on, set rate_limits"
            " (KEYSTEAD_RATE_LIMITS) for the servers."
        )


def require_begun(settings: Settings) -> None:
    """Raise Failure if there is no embedded database: a command in the wrong folder must not create one."""
    from keystead.bootstrap import database_file, has_begun

    if not has_begun(settings):
        raise Failure(
            f"There is no Keystead in {database_file(settings).parent.resolve()}. Set its folder with --data"
            " or its database with --database, or start a new one with `keystead serve` or `keystead migrate`.",
            Exit.CONFIGURATION,
        )
