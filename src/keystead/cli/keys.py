"""`keystead keys`: the keys of a workspace, on this machine or at a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from keystead.cli import render, shapes
from keystead.cli.installation import WorkspaceName, acting_on, note_rate_limits_off, opened
from keystead.cli.key_arguments import key_id_of, overlap_of
from keystead.cli.key_desks import Status, key_desk
from keystead.cli.options import (
    ANYWHERE,
    HERE,
    Cursor,
    Flag,
    Json,
    Limit,
    Place,
    Texts,
    Where,
    Yes,
    gather,
)
from keystead.cli.outcome import Exit, Failure, forbid_core_dumps
from keystead.cli.shapes import Shape, moment
from keystead.domain.errors import LimitReached
from keystead.domain.token import Token

if TYPE_CHECKING:
    from datetime import datetime


app = App(name="keys", help="Create, list, update, rotate and revoke API keys.")

KeyIdArgument = Annotated[str, Parameter(help="The key's id, key_..., not its token.")]
Description = Parameter(name=["--description", "-d"])


@app.command
def create(
    *,
    description: Annotated[str, Description],
    expires: str | None = None,
    scope: Texts = (),
    workspace: WorkspaceName = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Create a key, and print its token, which is shown only once, alone on standard output.

    Parameters
    ----------
    description
        What the key is for: 1-200 characters.
    expires
        When the key expires: a duration (90d), a time (2027-01-31T00:00:00Z), or never. Default: never; at a server,
        when the key that creates it expires.
    scope
        A scope, such as documents:read; repeatable. Default: all data of the workspace; at a server, the scopes of the
        key that creates it, without managing keys.
    """
    forbid_core_dumps()
    with key_desk(where, workspace) as desk:
        with _candidates_noted(json):
            key, token = desk.create(description, expires, scope)
        _print_token(key, token, json)


@app.command(name="list")
def list_(
    *,
    status: Status = None,
    query: str = "",
    limit: Limit = None,
    cursor: Cursor = None,
    workspace: WorkspaceName = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """List keys, newest first, and how much of the limit they use.

    Parameters
    ----------
    status
        Only keys of this status.
    query
        Only keys with this text in their description, with this id, or whose token ends in these four characters.
    """
    quota: Shape = {}
    with key_desk(where, workspace) as desk:

        def fetch(size: int, after: str | None) -> tuple[list[Shape], str | None]:
            page, following, used = desk.page(status, query, size, after)
            quota.update(used)
            return page, following

        keys, after = gather(fetch, limit, cursor)
    if json:
        render.print_json(shapes.listed(keys, after, quota=quota))
        return
    render.print_table(
        ("ID", "DESCRIPTION", "TOKEN", "STATUS", "EXPIRES", "LAST USED"), _rows(keys)
    )
    bound = "unlimited" if quota["limit"] is None else f"of {quota['limit']}"
    render.note(f"{quota['used']} active ({bound}).{' There are more.' if after else ''}")


@app.command
def show(
    key_id: KeyIdArgument,
    /,
    *,
    workspace: WorkspaceName = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Show a key: its scopes, creator and last use."""
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
    description: Annotated[str | None, Description] = None,
    expires: str | None = None,
    scope: Texts = (),
    workspace: WorkspaceName = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Update a key: its description, expiry or scopes.

    Parameters
    ----------
    description
        What the key is for: 1-200 characters.
    expires
        When the key expires: a duration from now (90d), a time (2027-01-31T00:00:00Z), or never. An expired key stays
        expired.
    scope
        A scope to keep; repeatable. All others are removed, and none can be added.
    """
    id = key_id_of(key_id)
    if description is None and expires is None and not scope:
        raise Failure("Nothing to update: use --description, --expires or --scope.", Exit.USAGE)
    with key_desk(where, workspace) as desk:
        key = desk.update(id, description, expires, scope)
    if json:
        render.print_json(key)
    else:
        render.note(_summary(key))


@app.command
def rotate(
    key_id: KeyIdArgument,
    /,
    *,
    overlap: str = "0",
    expires: str | None = None,
    workspace: WorkspaceName = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Replace a key by a successor with the same description and scopes, and print its token.

    Parameters
    ----------
    overlap
        How long the old key keeps working, such as 24h; at most 7d. Default: it stops working immediately.
    expires
        When the successor expires, as for `create`. Default: the old key's lifetime, counted from now.
    """
    forbid_core_dumps()
    id, duration = key_id_of(key_id), overlap_of(overlap)
    with key_desk(where, workspace) as desk:
        key, token = desk.rotate(id, duration, expires)
        _print_token(key, token, json)
        old = None if json else desk.after(id)
    if old is not None:
        until = f"works until {render.at(moment(old['expires_at']))}"
        state = "is revoked" if old["revoked_at"] else until
        render.note(f"The old key {id} ({old['hint']}) {state}.")


@app.command
def revoke(
    key_id: KeyIdArgument,
    /,
    *,
    yes: Yes = False,
    workspace: WorkspaceName = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Revoke a key immediately. This can't be undone."""
    id = key_id_of(key_id)
    with key_desk(where, workspace) as desk:
        if not yes:
            _confirm(desk.get(id))
        desk.revoke(id)
        key = desk.after(id)
    if json:
        render.print_json(key or {"id": id, "status": "revoked"})
    elif key is None:
        render.note(f"Revoked {id}.")
    else:
        render.note(f"{_name_of(key)} was revoked on {render.at(moment(key['revoked_at']))}.")


@app.command(name="rate-limit")
def rate_limit(
    key_id: KeyIdArgument,
    /,
    *,
    per_minute: int | None = None,
    none: Flag = False,
    workspace: WorkspaceName = None,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """Set a key's own rate limit, on this machine. Without an option, show the effective one.

    If the setting rate_limits is on, servers apply it within seconds.

    Parameters
    ----------
    per_minute
        Requests per minute, instead of the plan's limit for each key: lower or higher.
    none
        Remove the key's own limit, so that the plan's applies.
    """
    if none and per_minute is not None:
        raise Failure("Use either --per-minute or --none.", Exit.USAGE)
    id = key_id_of(key_id)
    with opened(place) as installation:
        rates = installation.services.key_rates
        principal = acting_on(installation.services, workspace)
        if none or per_minute is not None:
            rates.set(principal, id, per_minute)
        own, effective = rates.get(principal, id)
        if per_minute is not None:
            note_rate_limits_off(installation.settings)
    if json:
        render.print_json({"id": id, "per_minute": own, "holds": effective.key_per_minute})
        return
    per_minute = effective.key_per_minute
    bound = "unlimited" if per_minute is None else f"{per_minute} per minute"
    render.print_line(f"{bound}{'' if own is None else ' (its own)'}")


@contextmanager
def _candidates_noted(json: bool) -> Iterator[None]:
    """List the keys that are safest to revoke if the limit is reached. In JSON, the error itself has them."""
    try:
        yield
    except LimitReached as full:
        for key in () if json else full.candidates:
            used = key["last_used_at"] or "never"
            render.note(f'{key["id"]}: "{key["description"]}" ({key["hint"]}), last used {used}.')
        raise


def _print_token(key: Shape, token: Token, json: bool) -> None:
    render.print_secret(
        key,
        "token",
        token.reveal(),
        json,
        recovery=f"revoke {key['id']} and create another",
        about=_summary(key),
    )


def _summary(key: Shape) -> str:
    end = moment(key["expires_at"])
    expiry = "never expires" if end is None else f"expires {render.at(end)}"
    return f"{key['id']}: {_name_of(key)}, scopes {' '.join(key['scopes'])}, {expiry}."


def _print_key(key: Shape, now: datetime) -> None:
    used, end, creator = moment(key["last_used_at"]), moment(key["expires_at"]), key["created_by"]
    used_ago = f" ({render.away(min(used, now), now)})" if used else ""
    ends_in = f" ({render.away(end, now)})" if end else ""
    fields = {
        "id": key["id"],
        "description": key["description"],
        "token": key["hint"],
        "status": key["status"],
        "scopes": " ".join(key["scopes"]),
        "created": f"{render.at(moment(key['created_at']))} by {creator['name']} ({creator['type']})",
        "expires": render.at(end) + ends_in,
        "last used": render.at(used) + used_ago,
        "used from": key["last_used_ip"] or render.NOTHING,
        "used by": key["last_used_agent"] or render.NOTHING,
        "revoked": render.at(moment(key["revoked_at"]), render.NOTHING),
        "rotated to": key["rotated_to"] or render.NOTHING,
    }
    render.print_fields(fields)


def _rows(keys: Iterable[Shape]) -> Iterable[tuple[str, ...]]:
    for key in keys:
        end, used = (render.at(moment(key[name])) for name in ("expires_at", "last_used_at"))
        yield key["id"], key["description"], key["hint"], key["status"], end, used


def _name_of(key: Shape) -> str:
    return f'"{key["description"]}" ({key["hint"]})'


def _confirm(key: Shape) -> None:
    """Raise Failure unless the user agrees to revoke the key, or it is already revoked."""
    if key["revoked_at"] is not None:
        return
    last = moment(key["last_used_at"])
    used = f"last used {render.at(last)}" if last else "never used"
    render.require_confirmation(
        f"Revoke {_name_of(key)}, {used}? This can't be undone.",
        "Revoking can't be undone.",
        "Nothing was revoked.",
    )
