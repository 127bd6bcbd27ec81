"""The installation on this machine, opened for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

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
