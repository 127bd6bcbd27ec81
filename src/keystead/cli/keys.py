"""`keystead keys`: create, see, change, rotate and revoke the keys of a workspace, on this machine or at a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from keystead.cli import render, shapes
from keystead.cli.installation import WorkspaceName
from keystead.cli.key_desks import KeyDesk, Status, key_desk
from keystead.cli.options import Cursor, Json, Limit, Place, Where, gather
from keystead.cli.outcome import Exit, Failure, forbid_core_dumps
from keystead.cli.shapes import Shape, moment

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.domain.token import Token

app = App(name="keys", help="Create, see, change, rotate and revoke API keys.")

HERE: Final = Where()
ON_THIS_MACHINE: Final = Place()
KeyIdArgument = Annotated[str, Parameter(help="The key's id, key_...; never its token.")]


@app.command
def create(
    *,
    description: Annotated[str, Parameter(name=["--description", "-d"])],
    expires: str | None = None,
    scope: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    workspace: WorkspaceName = None,
    where: Where = HERE,
    json: Json = False,
) -> None:
    """Create a key, and print its token: once, alone on standard output.

    Parameters
    ----------
    description
        What the key is for: 1-200 characters, to tell it from the others.
    expires
        When it ends: a span (90d), an instant (2027-01-31T00:00:00Z), or never. Without this option: never; at a
        server, with the key that creates it.
    scope
        What it may do, such as documents:read; once for each. Without this option: all of the workspace's data; at a
        server, what the key that creates it may do, managing keys aside.
    """
    forbid_core_dumps()
    with key_desk(where, workspace) as desk:
        with _candidates_told(json):
            key, token = desk.create(description, expires, scope)
        _hand_over(key, token, json)


@app.command(name="list")
def list_(
    *,
    status: Status = None,
    query: str = "",
    limit: Limit = None,
    cursor: Cursor = None,
    workspace: WorkspaceName = None,
    where: Where = HERE,
    json: Json = False,
) -> None:
    """List keys, newest first, and how much of the limit they use.

    Parameters
    ----------
    status
        Only keys of this status.
    query
        Only keys with this in their description, of exactly this id, or whose token ends in these four characters.
    """
    quota: Shape = {}
    with key_desk(where, workspace) as desk:

        def fetch(size: int, after: str | None) -> tuple[list[Shape], str | None]:
            found, following, used = desk.page(status, query, size, after)
            quota.update(used)
            return found, following

        found, after = gather(fetch, limit, cursor)
    if json:
        render.print_json(shapes.listed(found, after, quota=quota))
        return
    render.print_table(
        ("ID", "DESCRIPTION", "TOKEN", "STATUS", "EXPIRES", "LAST USED"), _rows(found)
    )
    bound = "unlimited" if quota["limit"] is None else f"of {quota['limit']}"
    render.note(f"{quota['used']} active ({bound}).{' There are more.' if after else ''}")


@app.command
def show(
    key_id: KeyIdArgument,
    /,
    *,
    workspace: WorkspaceName = None,
    where: Where = HERE,
    json: Json = False,
) -> None:
    """Show one key: what it may do, who made it, its last use."""
    from keystead.cli.key_arguments import key_id_of

    id = key_id_of(key_id)
    with key_desk(where, workspace) as desk:
        key, now = desk.get(id), desk.now()
    if json:
        render.print_json(key)
    else:
        _print_key(key, now)


@app.command
def update(
    key_id: KeyIdArgument,
    /,
    *,
    description: Annotated[str | None, Parameter(name=["--description", "-d"])] = None,
    expires: str | None = None,
    scope: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    workspace: WorkspaceName = None,
    where: Where = HERE,
    json: Json = False,
) -> None:
    """Change a key: its description, its end, or what it may do. What is not named stays as it is.

    Parameters
    ----------
    description
        What the key is for: 1-200 characters.
    expires
        When it ends: a span from now (90d), an instant (2027-01-31T00:00:00Z), or never. A key that has ended stays so.
    scope
        What it may still do, once for each: scopes are taken away, and never given.
    """
    from keystead.cli.key_arguments import key_id_of

    id = key_id_of(key_id)
    if description is None and expires is None and not scope:
        raise Failure("Say what to change: --description, --expires or --scope.", Exit.USAGE)
    with key_desk(where, workspace) as desk:
        key = desk.update(id, description, expires, scope)
    if json:
        render.print_json(key)
    else:
        render.note(_said(key))


@app.command
def rotate(
    key_id: KeyIdArgument,
    /,
    *,
    overlap: str = "0",
    expires: str | None = None,
    workspace: WorkspaceName = None,
    where: Where = HERE,
    json: Json = False,
) -> None:
    """Replace a key by a successor like it, and print the new token.

    Description and scopes stay. The old key ends now, or after the overlap.

    Parameters
    ----------
    overlap
        How long the old key still works, such as 24h; at most 7d. Not at all without it.
    expires
        When the successor ends, as for `create`. Without it: the old key's lifetime, counted from now.
    """
    from keystead.cli.key_arguments import key_id_of, overlap_of

    forbid_core_dumps()
    id, span = key_id_of(key_id), overlap_of(overlap)
    with key_desk(where, workspace) as desk:
        key, token = desk.rotate(id, span, expires)
        _hand_over(key, token, json)
        old = None if json else desk.after(id)
    if old is not None:
        until = f"works until {render.at(moment(old['expires_at']))}"
        ended = "is revoked" if old["revoked_at"] else until
        render.note(f"The old key {id} ({old['hint']}) {ended}.")


@app.command
def revoke(
    key_id: KeyIdArgument,
    /,
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    workspace: WorkspaceName = None,
    where: Where = HERE,
    json: Json = False,
) -> None:
    """End a key, at once and for good.

    Parameters
    ----------
    yes
        Do it without asking, as scripts must.
    """
    from keystead.cli.key_arguments import key_id_of

    id = key_id_of(key_id)
    with key_desk(where, workspace) as desk:
        if not yes:
            _ask(desk, id)
        desk.revoke(id)
        key = desk.after(id)
    if json:
        render.print_json(key or {"id": id, "status": "revoked"})
    elif key is None:
        render.note(f"Revoked: {id}.")
    else:
        render.note(f"Revoked since {render.at(moment(key['revoked_at']))}: {_named(key)}.")


@app.command(name="rate-limit")
def rate_limit(
    key_id: KeyIdArgument,
    /,
    *,
    per_minute: int | None = None,
    none: Annotated[bool, Parameter(negative=())] = False,
    workspace: WorkspaceName = None,
    place: Place = ON_THIS_MACHINE,
    json: Json = False,
) -> None:
    """Give a key a rate limit of its own, on this machine; without an option, say what holds.

    Servers keep to it within seconds, where the setting rate_limits is made.

    Parameters
    ----------
    per_minute
        Requests a minute, instead of what the plan says for each key: fewer, or more.
    none
        None of its own: what the plan says holds again.
    """
    from keystead.cli.installation import acting_on, note_rate_limits_off, opened
    from keystead.cli.key_arguments import key_id_of

    if none and per_minute is not None:
        raise Failure("--per-minute and --none exclude each other.", Exit.USAGE)
    id = key_id_of(key_id)
    with opened(place) as installation:
        rates = installation.services.key_rates
        principal = acting_on(installation.services, workspace)
        if none or per_minute is not None:
            rates.set(principal, id, per_minute)
        own, holds = rates.get(principal, id)
        if per_minute is not None:
            note_rate_limits_off(installation.settings)
    if json:
        render.print_json({"id": id, "per_minute": own, "holds": holds.key_per_minute})
        return
    bound = "unlimited" if holds.key_per_minute is None else f"{holds.key_per_minute} a minute"
    render.print_line(f"{bound}{'' if own is None else ' (its own)'}")


@contextmanager
def _candidates_told(json: bool) -> Iterator[None]:
    """Where the limit is reached: which keys would cost least to revoke. In JSON the error itself has them."""
    from keystead.domain.errors import LimitReached

    try:
        yield
    except LimitReached as full:
        for key in () if json else full.candidates:
            used = key["last_used_at"] or "never"
            render.note(f'{key["id"]}: "{key["description"]}" ({key["hint"]}), last used {used}.')
        raise


def _hand_over(key: Shape, token: Token, json: bool) -> None:
    """Prints the token, once. Where it cannot be printed nobody has it: the message says what to do."""
    try:
        if json:
            render.print_json(key | {"token": token.reveal()})
        else:
            render.print_line(token.reveal())
        render.flush()
    except OSError:
        raise Failure(
            f"The token could not be written and is lost; revoke {key['id']} and create another."
        ) from None
    if not json:
        render.note(_said(key))
        render.note("The token is shown this once. Keep it where you keep secrets.")


def _said(key: Shape) -> str:
    end = moment(key["expires_at"])
    ends = "never expires" if end is None else f"expires {render.at(end)}"
    return f"{key['id']}: {_named(key)}, scopes {' '.join(key['scopes'])}, {ends}."


def _print_key(key: Shape, now: datetime) -> None:
    used, end, maker = moment(key["last_used_at"]), moment(key["expires_at"]), key["created_by"]
    seen = f" ({render.away(min(used, now), now)})" if used else ""
    ends = f" ({render.away(end, now)})" if end else ""
    fields = {
        "id": key["id"],
        "description": key["description"],
        "token": key["hint"],
        "status": key["status"],
        "scopes": " ".join(key["scopes"]),
        "created": f"{render.at(moment(key['created_at']))} by {maker['name']} ({maker['type']})",
        "expires": render.at(end) + ends,
        "last used": render.at(used) + seen,
        "used from": key["last_used_ip"] or render.NOTHING,
        "used by": key["last_used_agent"] or render.NOTHING,
        "revoked": render.at(moment(key["revoked_at"]), render.NOTHING),
        "rotated to": key["rotated_to"] or render.NOTHING,
    }
    render.print_fields(fields)


def _rows(keys: Iterable[Shape]) -> Iterable[tuple[str, ...]]:
    for key in keys:
        ends, used = (render.at(moment(key[name])) for name in ("expires_at", "last_used_at"))
        yield key["id"], key["description"], key["hint"], key["status"], ends, used


def _named(key: Shape) -> str:
    return f'"{key["description"]}" ({key["hint"]})'


def _ask(desk: KeyDesk, id: str) -> None:
    """Failure unless a person at the terminal agrees; a key that is revoked already is not asked about."""
    key = desk.get(id)
    if key["revoked_at"] is not None:
        return
    if not render.has_person():
        raise Failure("Revoking is final; --yes does it without a question.", Exit.USAGE)
    last = moment(key["last_used_at"])
    used = f"last used {render.at(last)}" if last else "never used"
    if not render.confirmed(f"Revoke {_named(key)}, {used}, for good?"):
        raise Failure("Nothing was revoked.")
