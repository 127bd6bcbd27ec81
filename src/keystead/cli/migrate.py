"""`keystead migrate`: the database's schema."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Final

from cyclopts import Parameter

from keystead.cli import render
from keystead.cli.options import Json, Place
from keystead.cli.outcome import Exit

HERE: Final = Place()


def migrate(
    *,
    check: Annotated[bool, Parameter(negative=())] = False,
    place: Place = HERE,
    json: Json = False,
) -> int:
    """Bring the database to the schema of this version. Two at once do it once.

    Parameters
    ----------
    check
        Change nothing: only say how the schema stands (exit code 1 unless it is current).
    """
    from keystead import bootstrap
    from keystead.settings import read_settings

    settings = read_settings(**asdict(place))
    if check:
        state = bootstrap.schema_state(settings)
        _tell(asdict(state), f"The schema is {state.status}.", json)
        return Exit.DONE if state.status == "current" else Exit.REFUSED
    before = bootstrap.migrate(settings)
    said = "was current already" if before.status == "current" else f"is now at {before.needed}"
    _tell(asdict(before), f"The schema {said}.", json)
    return Exit.DONE


def _tell(state: dict[str, str | None], line: str, json: bool) -> None:
    if json:
        render.print_json(state)
    else:
        render.print_line(line)
