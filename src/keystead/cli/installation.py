"""The installation on this machine, opened for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystead.bootstrap import Installation
    from keystead.cli.options import Place


@contextmanager
def opened(place: Place) -> Iterator[Installation]:
    """The installation of that place, checked as `serve` checks it, and closed at the end."""
    from keystead import bootstrap
    from keystead.settings import read_settings

    settings = read_settings(**asdict(place))
    bootstrap.prepare(settings)
    installation = bootstrap.open_safely(settings)
    try:
        yield installation
    finally:
        installation.close()
