"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print one JSON document.")]


Data = Annotated[
    Path | None, Parameter(help="Folder of the embedded database and the pepper (./data).")
]
Database = Annotated[
    str | None, Parameter(help="Database URL; with a password in it, use KEYSTEAD_DATABASE.")
]


@Parameter(name="*", group="Installation")
@dataclass(frozen=True)
class Place:
    """Which installation a command works on."""

    data: Data = None
    database: Database = None


@Parameter(name="*", group="Where")
@dataclass(frozen=True)
class Where:
    """This machine's own installation, or a server; only --url makes it a server."""

    data: Data = None
    database: Database = None
    url: Annotated[
        str | None,
        Parameter(help="A server, in place of this machine's own database; it takes a token."),
    ] = None
    token_file: Annotated[
        Path | None,
        Parameter(help="With --url: file (mode 0600) with the token, if not as `login` keeps it."),
    ] = None

    @property
    def place(self) -> Place:
        """The installation on this machine."""
        return Place(self.data, self.database)
