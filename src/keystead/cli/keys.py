"""`keystead keys`: the keys of a workspace, on this machine or at a server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from keystead.cli import render
from keystead.cli.installation import WorkspaceName, note_rate_limits_off
from keystead.cli.key_arguments import (
    days_of,
    duration_of,
    expiry_of,
    key_id_of,
    metadata_of,
    renewal_of,
)
from keystead.cli.key_text import (
    candidates_noted,
    name_of,
    print_key,
    print_token,
    require_consent,
    rows_of,
    summary_of,
)
from keystead.cli.options import (
    ANYWHERE,
    Cursor,
    Flag,
    Json,
    Limit,
    Texts,
    Where,
    Yes,
    gather,
)
from keystead.cli.outcome import Exit, Failure, forbid_core_dumps
from keystead.cli.renewal import renew
from keystead.cli.server import (
    WORKSPACE_CALLS,
    operating,
    with_keys,
    workspace_id_of,
)

if TYPE_CHECKING:
    from keystead.client import Key, Quota
    from keystead.client._sync.keys import Keys
    from keystead.client.requests import KeyFilters


app = App(name="keys", help="Create, list, update, rotate and revoke API keys.")

KeyIdArgument = Annotated[str, Parameter(help="The key's id, key_..., not its token.")]
Description = Parameter(name=["--description", "-d"])
Status = Literal["active", "expired", "revoked"] | None
Sort = Literal["created_at", "last_used_at", "expires_at"]
Order = Literal["asc", "desc"]


@app.command
def create(
    *,
    description: Annotated[str, Description],
    expires: str | None = None,
    scope: Texts = (),
    network: Texts = (),
    metadata: Texts = (),
    renewable_until: str | None = None,
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
    network
        An address or a CIDR block that the key works from; repeatable. Default: anywhere; at a server, the networks of
        the key that creates it.
    metadata
        A label for your product, such as customer=42; repeatable. It gives no access.
    renewable_until
        Let the key renew itself until then, as for --expires; never: without end. Default: it can't renew itself.
    """
    forbid_core_dumps()
    from keystead.client import UNSET

    now = datetime.now(UTC)
    end, labels = expiry_of(expires, now), metadata_of(metadata)
    renewal = renewal_of(renewable_until, now)
    with with_keys(where, workspace) as keys:
        with candidates_noted(json):
            created = keys.create(
                description,
                scopes=scope or UNSET,
                expires_at=end,
                networks=network or UNSET,
                metadata=labels or UNSET,
                renewal=renewal,
            )
        print_token(created, json)


@app.command(name="list")
def list_(
    *,
    status: Status = None,
    query: str = "",
    created_by: str = "",
    unused_for: str | None = None,
    expiring_within: str | None = None,
    outside_policy: Flag = False,
    sort: Sort = "created_at",
    order: Order = "desc",
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
    created_by
        Only keys that the key, member or operator with this id created.
    unused_for
        Only keys without a use for so long, such as 30d.
    expiring_within
        Only active keys that expire within this time, such as 14d.
    outside_policy
        Only keys that the workspace's policy would not allow as they are.
    sort
        What orders the list.
    order
        Ascending or descending.
    """
    quotas: list[Quota] = []
    filters: KeyFilters = {
        "status": status,
        "query": query,
        "created_by": created_by,
        "unused_for": days_of("--unused-for", unused_for),
        "expiring_within": days_of("--expiring-within", expiring_within),
        "outside_policy": outside_policy,
        "sort": sort,
        "order": order,
    }
    with with_keys(where, workspace) as keys:

        def fetch(size: int, after: str | None) -> tuple[list[Key], str | None]:
            page = keys.page(limit=size, cursor=after, **filters)
            quotas.append(page.quota)
            return page.items, page.next_cursor

        found, after = gather(fetch, limit, cursor)
    quota = quotas[-1]
    if json:
        render.print_json_list(found, after, quota=quota)
        return
    render.print_table(
        ("ID", "DESCRIPTION", "TOKEN", "STATUS", "EXPIRES", "LAST USED"), rows_of(found)
    )
    bound = "unlimited" if quota.limit is None else f"of {quota.limit}"
    render.note(f"{quota.used} active ({bound}).{' There are more.' if after else ''}")


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
    with with_keys(where, workspace) as keys:
        key = keys.get(id)
    if json:
        render.print_json(key)
    else:
        print_key(key, datetime.now(UTC))


@app.command
def update(
    key_id: KeyIdArgument,
    /,
    *,
    description: Annotated[str | None, Description] = None,
    expires: str | None = None,
    scope: Texts = (),
    network: Texts = (),
    any_network: Flag = False,
    metadata: Texts = (),
    remove_metadata: Texts = (),
    renewable_until: str | None = None,
    not_renewable: Flag = False,
    workspace: WorkspaceName = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Update a key: its description, expiry, scopes, networks, metadata or renewal.

    Parameters
    ----------
    description
        What the key is for: 1-200 characters.
    expires
        When the key expires: a duration from now (90d), a time (2027-01-31T00:00:00Z), or never. An expired key stays
        expired.
    scope
        A scope to keep; repeatable. All others are removed, and none can be added.
    network
        An address or a CIDR block that the key works from; repeatable. All others are removed.
    any_network
        Let the key work from anywhere.
    metadata
        A label to set, such as customer=42; repeatable. The others stay.
    remove_metadata
        The name of a label to remove; repeatable.
    renewable_until
        Let the key renew itself until then, as for --expires; never: without end.
    not_renewable
        Take away the permission to renew itself.
    """
    id = key_id_of(key_id)
    if network and any_network:
        raise Failure("Use either --network or --any-network.", Exit.USAGE)
    if renewable_until is not None and not_renewable:
        raise Failure("Use either --renewable-until or --not-renewable.", Exit.USAGE)
    from keystead.client import UNSET

    now = datetime.now(UTC)
    changes: dict[str, Any] = {
        "description": UNSET if description is None else description,
        "scopes": scope or UNSET,
        "expires_at": expiry_of(expires, now),
        "networks": network if network or any_network else UNSET,
        "metadata": {**dict.fromkeys(remove_metadata), **metadata_of(metadata)} or UNSET,
        "renewal": None if not_renewable else renewal_of(renewable_until, now),
    }
    if all(value is UNSET for value in changes.values()):
        raise Failure("Nothing to update: use at least one option.", Exit.USAGE)
    with with_keys(where, workspace) as keys:
        key = keys.update(id, **changes)
    if json:
        render.print_json(key)
    else:
        render.note(summary_of(key))


@app.command
def rotate(
    key_id: KeyIdArgument,
    /,
    *,
    overlap: str = "0",
    end_when_quiet: str | None = None,
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
    end_when_quiet
        End the old key earlier, once the new one was used and the old one was silent for so long, such as 6h.
    expires
        When the successor expires, as for `create`. Default: the old key's lifetime, counted from now.
    """
    forbid_core_dumps()
    id, duration = key_id_of(key_id), duration_of("--overlap", overlap)
    quiet = None if end_when_quiet is None else duration_of("--end-when-quiet", end_when_quiet)
    end = expiry_of(expires, datetime.now(UTC))
    with with_keys(where, workspace) as keys:
        created = keys.rotate(id, overlap=duration, end_when_quiet=quiet, expires_at=end)
        print_token(created, json)
        old = None if json else _changed(keys, id)
    if old is not None:
        state = "is revoked" if old.revoked_at else f"works until {render.at(old.expires_at)}"
        render.note(f"The old key {id} ({old.hint}) {state}.")


app.command(renew)


@app.command
def revoke(
    key_id: KeyIdArgument,
    /,
    *,
    family: Flag = False,
    yes: Yes = False,
    workspace: WorkspaceName = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Revoke a key immediately. This can't be undone.

    Parameters
    ----------
    family
        Also revoke the keys that renewed themselves to this one, and those that it renewed itself to.
    """
    id = key_id_of(key_id)
    with with_keys(where, workspace) as keys:
        if not yes:
            require_consent(keys.get(id))
        keys.revoke(id, family=family)
        key = _changed(keys, id)
    if json:
        render.print_json(key or {"id": id, "status": "revoked"})
    elif key is None:
        render.note(f"Revoked {id}.")
    else:
        render.note(f"{name_of(key)} was revoked on {render.at(key.revoked_at)}.")


@app.command(name="rate-limit")
def rate_limit(
    key_id: KeyIdArgument,
    /,
    *,
    per_minute: int | None = None,
    none: Flag = False,
    workspace: WorkspaceName = None,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Set a key's own rate limit, as an operator. Without an option, show the effective one.

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
    with operating(where, *WORKSPACE_CALLS, "rate_limits:RATE_LIMITS") as operator:
        workspace_id, workspaces = workspace_id_of(operator, workspace), operator.workspaces
        if none or per_minute is not None:
            limits = workspaces.set_key_rate_limits(workspace_id, id, per_minute=per_minute)
        else:
            limits = workspaces.key_rate_limits(workspace_id, id)
    if per_minute is not None:
        note_rate_limits_off(where)
    if json:
        render.print_json(limits)
        return
    effective = limits.effective.key_per_minute
    bound = "unlimited" if effective is None else f"{effective} per minute"
    render.print_line(f"{bound}{'' if limits.per_minute is None else ' (its own)'}")


def _changed(keys: Keys, id: str) -> Key | None:
    """Return the key; None without `keys:read`, or after the end of the caller's own key."""
    from keystead.client import InsufficientScope, InvalidToken

    try:
        return keys.get(id)
    except (InsufficientScope, InvalidToken):
        return None
