"""`keystead move`: copy the installation to another database, and give up the old one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

from keystead.cli import render
from keystead.cli.installation import require_begun
from keystead.cli.options import HERE, Flag, Json, Place, Yes
from keystead.cli.outcome import Exit, Failure

if TYPE_CHECKING:
    from keystead.bootstrap import Moved, Settings, Step


def move(
    *,
    to: str | None = None,
    server_role: str | None = None,
    undo: Flag = False,
    yes: Yes = False,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """Move the installation to another database: from SQLite to PostgreSQL, back, or between two of one kind.

    Stop all servers first. Everything is copied and compared: keys keep their tokens. Then the old database is no
    longer served. An interrupted move can be repeated: it goes on, or starts again.

    On PostgreSQL this needs the owner of the tables, whose password libpq reads from PGPASSWORD or ~/.pgpass.

    Parameters
    ----------
    to
        URL of the new database, which must be empty: postgresql://owner@host/name or sqlite:////path/keystead.db.
    server_role
        The PostgreSQL role that the servers log in as. Default: keystead_server.
    undo
        Use the database again that was moved away. What was changed in the other one since is missing in it.
    """
    from keystead import bootstrap
    from keystead.settings import read_settings

    settings = read_settings(**asdict(place))
    require_begun(settings)
    if undo == (to is not None):
        raise Failure("Give either --to or --undo.", Exit.USAGE)
    if to is None:
        _undo(settings, server_role, yes=yes, json=json)
        return
    with ExitStack() as stack:
        moved = bootstrap.move(settings, to, _reporter(stack, silent=json), server_role)
    if json:
        render.print_json(asdict(moved))
    else:
        for line in _lines(moved):
            render.print_line(line)


def _undo(settings: Settings, server_role: str | None, *, yes: bool, json: bool) -> None:
    from keystead import bootstrap

    warning = "Changes made in the other database since the move will be missing, and no server may use that one."
    if not yes:
        render.require_confirmation(f"{warning} Continue?", warning, "Nothing was changed.")
    mark = bootstrap.undo_move(settings, server_role)
    if json:
        render.print_json({"moved_to": mark.place, "moved_at": mark.at})
    else:
        render.print_line(f"Servers may use this database again. Let none use {mark.place}.")


def _reporter(stack: ExitStack, *, silent: bool) -> Callable[[Step], None]:
    """Return what shows each step: a progress bar at a terminal, else a line for each table."""
    advance: Callable[[int], None] | None = None
    shown = ""

    def report(step: Step) -> None:
        nonlocal advance, shown
        if advance is None:
            advance = stack.enter_context(render.progress("Moving", step.total, silent=silent))
        advance(step.rows)
        line = f"{'Comparing' if step.is_comparison else 'Copying'} {step.table}"
        if line != shown and not silent and not sys.stderr.isatty():
            render.note(line)
        shown = line

    return report


def _lines(moved: Moved) -> Iterator[str]:
    if moved.tables:
        rows = sum(table.rows for table in moved.tables)
        tables = render.counted(len(moved.tables), "table")
        yield f"Copied {render.counted(rows, 'row')} in {tables}, and compared them: nothing differs."
    yield f"The installation is now in {moved.target}."
    yield f"Set KEYSTEAD_DATABASE to it for each server{_login(moved)}."
    yield f"Servers on other machines need the same {' and '.join(moved.carry)}."
    yield f"{moved.source} is no longer served. To go back to it, run: keystead move --undo"


def _login(moved: Moved) -> str:
    if moved.server is None:
        return ""
    new = f". That role is new; set its password in psql: \\password {moved.server}"
    return f", which logs in as {moved.server}{new if moved.made_login else ''}"
