"""`keystead keys`: create, see, rotate and revoke the keys of a workspace, on this machine's own database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter

from keystead.cli import render, shapes
from keystead.cli.core_dumps import forbid_core_dumps
from keystead.cli.operator import WorkspaceName, acting_on
from keystead.cli.options import Json, Place
from keystead.cli.outcome import Exit, Failure
from keystead.cli.paging import Cursor, Limit, gather

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.domain.ids import KeyId
    from keystead.domain.keys import ApiKey
    from keystead.services.keys import CreatedKey, KeyPage

app = App(name="keys", help="Create, see, rotate and revoke API keys.")

HERE: Final = Place()
KeyIdArgument = Annotated[str, Parameter(help="The key's id, key_...; never its token.")]


@app.command
def create(
    *,
    description: Annotated[str, Parameter(name=["--description", "-d"])],
    expires: str | None = None,
    scope: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    workspace: WorkspaceName = None,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """Create a key, and print its token: once, alone on standard output.

    Parameters
    ----------
    description
        What the key is for: 1-200 characters, to tell it from the others.
    expires
        When it ends: a span (90d), an instant (2027-01-31T00:00:00Z), or never, as without this option.
    scope
        What it may do, such as documents:read; once for each. All of the workspace's data without this option.
    """
    from keystead.cli.installation import opened
    from keystead.cli.key_arguments import end_of, scopes_of
    from keystead.domain.keys import KeyDraft

    forbid_core_dumps()
    with opened(place) as installation:
        keys = installation.services.keys
        principal = acting_on(installation.services, workspace)
        end, scopes = end_of(expires, keys.now()), scopes_of(scope, keys.catalog)
        with _candidates_told(json):
            created = keys.create(principal, KeyDraft(description, end, scopes))
        _hand_over(created, keys.now(), json)


@app.command(name="list")
def list_(
    *,
    status: Literal["active", "expired", "revoked"] | None = None,
    query: str = "",
    limit: Limit = None,
    cursor: Cursor = None,
    workspace: WorkspaceName = None,
    place: Place = HERE,
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
    from keystead.cli.installation import opened
    from keystead.domain.ids import KeyId
    from keystead.domain.keys import KeyStatus

    with opened(place) as installation:
        keys = installation.services.keys
        principal = acting_on(installation.services, workspace)
        wanted = None if status is None else KeyStatus(status)
        last: list[KeyPage] = []

        def fetch(size: int, before: KeyId | None) -> tuple[list[ApiKey], KeyId | None]:
            page = keys.list(principal, status=wanted, query=query, limit=size, before=before)
            last[:] = [page]
            return page.keys, page.next

        found, after = gather(fetch, limit, None if cursor is None else KeyId(cursor))
        quota, now = last[0].quota, keys.now()
    if json:
        shown = (shapes.key(key, now) for key in found)
        render.print_json(shapes.listed(shown, after, quota=shapes.quota(quota)))
        return
    render.print_table(
        ("ID", "DESCRIPTION", "TOKEN", "STATUS", "EXPIRES", "LAST USED"), _rows(found, now)
    )
    bound = "unlimited" if quota.limit is None else f"of {quota.limit}"
    render.note(f"{quota.used} active ({bound}).{' There are more.' if after else ''}")


@app.command
def show(
    key_id: KeyIdArgument,
    /,
    *,
    workspace: WorkspaceName = None,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """Show one key: what it may do, who made it, its last use."""
    from keystead.cli.installation import opened
    from keystead.cli.key_arguments import key_id_of

    id = key_id_of(key_id)
    with opened(place) as installation:
        keys = installation.services.keys
        principal = acting_on(installation.services, workspace)
        key, now = keys.get(principal, id), keys.now()
    _print_key(key, now, json)


@app.command
def rotate(
    key_id: KeyIdArgument,
    /,
    *,
    overlap: str = "0",
    expires: str | None = None,
    workspace: WorkspaceName = None,
    place: Place = HERE,
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
    from keystead.cli.installation import opened
    from keystead.cli.key_arguments import end_of, key_id_of, overlap_of

    forbid_core_dumps()
    id, span = key_id_of(key_id), overlap_of(overlap)
    with opened(place) as installation:
        keys = installation.services.keys
        principal = acting_on(installation.services, workspace)
        created = keys.rotate(principal, id, overlap=span, expires_at=end_of(expires, keys.now()))
        old = keys.get(principal, id)
        _hand_over(created, keys.now(), json)
    if not json:
        ended = "is revoked" if old.revoked_at else f"works until {render.at(old.expires_at)}"
        render.note(f"The old key {old.id} ({old.hint}) {ended}.")


@app.command
def revoke(
    key_id: KeyIdArgument,
    /,
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    workspace: WorkspaceName = None,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """End a key, at once and for good.

    Parameters
    ----------
    yes
        Do it without asking, as scripts must.
    """
    from keystead.cli.installation import opened
    from keystead.cli.key_arguments import key_id_of

    id = key_id_of(key_id)
    with opened(place) as installation:
        keys = installation.services.keys
        principal = acting_on(installation.services, workspace)
        key = keys.get(principal, id)
        if key.revoked_at is None and not yes:
            _ask(key)
        key, now = keys.revoke(principal, key.id), keys.now()
    if json:
        render.print_json(shapes.key(key, now))
    else:
        render.note(f"Revoked since {render.at(key.revoked_at)}: {_named(key)}.")


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


def _hand_over(created: CreatedKey, now: datetime, json: bool) -> None:
    """Prints the token, once. Where it cannot be printed nobody has it: the message says what to do."""
    key, token = created.key, created.token
    if token is None:
        raise Failure("The token was handed over before; rotate the key for another.")
    try:
        if json:
            render.print_json(shapes.key(key, now) | {"token": token.reveal()})
        else:
            render.print_line(token.reveal())
        render.flush()
    except OSError:
        raise Failure(
            f"The token could not be written and is lost; revoke {key.id} and create another."
        ) from None
    if not json:
        ends = "never expires" if key.expires_at is None else f"expires {render.at(key.expires_at)}"
        render.note(f"{key.id}: {_named(key)}, scopes {key.scopes}, {ends}.")
        render.note("The token is shown this once. Keep it where you keep secrets.")


def _print_key(key: ApiKey, now: datetime, json: bool) -> None:
    if json:
        render.print_json(shapes.key(key, now))
        return
    use = key.last_use
    used = f"{render.at(use.at)} ({render.away(min(use.at, now), now)})" if use else "never"
    ends = f" ({render.away(key.expires_at, now)})" if key.expires_at else ""
    fields = {
        "id": key.id,
        "description": key.description,
        "token": key.hint,
        "status": key.status(now).value,
        "scopes": str(key.scopes),
        "created": f"{render.at(key.created_at)} by {key.created_by.name} ({key.created_by.kind})",
        "expires": render.at(key.expires_at) + ends,
        "last used": used,
        "used from": (use and use.address) or render.NOTHING,
        "used by": (use and use.agent) or render.NOTHING,
        "revoked": render.at(key.revoked_at, render.NOTHING),
        "rotated to": key.rotated_to or render.NOTHING,
    }
    render.print_fields(fields)


def _rows(keys: Iterable[ApiKey], now: datetime) -> Iterable[tuple[str, ...]]:
    for key in keys:
        used = render.at(key.last_use.at if key.last_use else None)
        status, ends = key.status(now).value, render.at(key.expires_at)
        yield key.id, key.description, key.hint, status, ends, used


def _named(key: ApiKey) -> str:
    return f'"{key.description}" ({key.hint})'


def _ask(key: ApiKey) -> None:
    """Failure unless a person at the terminal agrees."""
    if not render.has_person():
        raise Failure("Revoking is final; --yes does it without a question.", Exit.USAGE)
    used = f"last used {render.at(key.last_use.at)}" if key.last_use else "never used"
    if not render.confirmed(f"Revoke {_named(key)}, {used}, for good?"):
        raise Failure("Nothing was revoked.")
