"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print one JSON document.")]


@Parameter(name="*", group="Installation")
@dataclass(frozen=True)
class Place:
    """Which installation a command works on."""

    data: Annotated[
        Path | None, Parameter(help="Folder of the embedded database and the pepper (./data).")
    ] = None
    database: Annotated[
        str | None, Parameter(help="Database URL; with a password in it, use KEYSTEAD_DATABASE.")
    ] = None
