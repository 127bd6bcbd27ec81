"""Options of the commands about documents."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

Collection = Annotated[str, Parameter(name=["--collection", "-c"], help="The collection's name.")]
Id = Annotated[str, Parameter(help="The document's id.")]
