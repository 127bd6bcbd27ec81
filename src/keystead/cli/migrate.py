"""`keystead migrate`: the database's schema, and on PostgreSQL the roles and the row security."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from keystead.cli import render
from keystead.cli.options import Json, Place
from keystead.cli.outcome import Exit

if TYPE_CHECKING:
    from keystead.bootstrap import Migrated

HERE: Final = Place()


def migrate(
    *,
    check: Annotated[bool, Parameter(negative=())] = False,
    server_role: str | None = None,
    enforce: Annotated[bool, Parameter(negative=())] = False,
    place: Place = HERE,
    json: Json = False,
) -> int:
    """Bring the database to the schema of this version. Two at once do it once.

    A PostgreSQL is brought under row security as well, and is given the roles that the server works in. This needs the
    tables' owner: KEYSTEAD_MIGRATION_DATABASE holds its URL, or --database. What is right already is left alone.

    Parameters
    ----------
    check
        Change nothing: only say how the schema stands (exit code 1 unless it is current).
    server_role
        The role of PostgreSQL that the servers log in as: the one in their own URL, else keystead_server.
    enforce
        No server of a version before row security runs any more: hold the tables' owner to it too.
    """
    from keystead import bootstrap
    from keystead.settings import read_settings

    settings = read_settings(**asdict(place))
    if check:
        state = bootstrap.schema_state(settings)
        _tell(asdict(state), [f"The schema is {state.status}."], json)
        return Exit.DONE if state.status == "current" else Exit.REFUSED
    done = bootstrap.migrate(settings, server_role, enforce=enforce)
    told: dict[str, Any] = asdict(done.before)
    if done.row_security is not None:
        told["row_security"] = asdict(done.row_security)
    _tell(told, list(_lines(done)), json)
    return Exit.REFUSED if done.row_security and done.row_security.left else Exit.DONE


def _lines(done: Migrated) -> Iterator[str]:
    before, walled = done.before, done.row_security
    said = "was current already" if before.status == "current" else f"is now at {before.needed}"
    yield f"The schema {said}."
    if walled is None:
        return
    if walled.left:
        yield "This role may not make roles. Have an administrator run this, and run keystead migrate again:"
        yield from walled.left
        return
    yield f"Row security {'is now' if walled.done else 'was'} in force; servers log in as {walled.server}."
    if walled.made_login:
        yield f"That role is new and has no password. In psql: \\password {walled.server}"
    if walled.owners_way:
        yield "Servers of the version before go on as the tables' owner. When none of them runs any more, run:"
        yield "keystead migrate --enforce"


def _tell(state: dict[str, Any], lines: list[str], json: bool) -> None:
    if json:
        render.print_json(state)
        return
    for line in lines:
        render.print_line(line)
