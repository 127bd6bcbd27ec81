"""Keys as text: tokens, lists, details and questions of `keystead keys`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from keystead.cli import render

if TYPE_CHECKING:
    from keystead.client import CreatedKey, Key


def print_token(created: CreatedKey, json: bool) -> None:
    """Print the token of a new key, and on stderr what the key may do."""
    render.print_secret(
        created,
        "token",
        created.token,
        json,
        recovery=f"revoke {created.id} and create another",
        about=summary_of(created),
    )


def summary_of(key: Key) -> str:
    """Return a key in one sentence."""
    end = key.expires_at
    expiry = "never expires" if end is None else f"expires {render.at(end)}"
    return f"{key.id}: {name_of(key)}, scopes {' '.join(key.scopes)}, {expiry}."


def print_key(key: Key, now: datetime) -> None:
    """Print everything about a key, with ages as of `now`."""
    used, end, creator = key.last_used_at, key.expires_at, key.created_by
    used_ago = f" ({render.away(min(used, now), now)})" if used else ""
    ends_in = f" ({render.away(end, now)})" if end else ""
    fields = {
        "id": key.id,
        "description": key.description,
        "token": key.hint,
        "status": key.status,
        "scopes": " ".join(key.scopes),
        "created": f"{render.at(key.created_at)} by {creator.name} ({creator.type})",
        "expires": render.at(end) + ends_in,
        "last used": render.at(used) + used_ago,
        "used from": key.last_used_ip or render.NOTHING,
        "used by": key.last_used_agent or render.NOTHING,
        "revoked": render.at(key.revoked_at, render.NOTHING),
        "rotated to": key.rotated_to or render.NOTHING,
        "networks": " ".join(key.networks) or "anywhere",
        "metadata": "  ".join(map("=".join, key.metadata.items())) or render.NOTHING,
        "renewal": _renewal_text(key),
    }
    render.print_fields(fields)


def _renewal_text(key: Key) -> str:
    if key.renewal is None:
        return render.NOTHING
    return "without end" if key.renewal.until is None else f"until {render.at(key.renewal.until)}"


def rows_of(keys: Iterable[Key]) -> Iterable[tuple[str, ...]]:
    """Yield the rows of a list of keys."""
    for key in keys:
        end, used = render.at(key.expires_at), render.at(key.last_used_at)
        yield key.id, key.description, key.hint, key.status, end, used


def name_of(key: Key) -> str:
    """Return a key's description and hint."""
    return f'"{key.description}" ({key.hint})'


def require_consent(key: Key) -> None:
    """Raise Failure unless the user agrees to revoke the key, or it is already revoked."""
    if key.revoked_at is not None:
        return
    used = f"last used {render.at(key.last_used_at)}" if key.last_used_at else "never used"
    render.require_confirmation(
        f"Revoke {name_of(key)}, {used}? This can't be undone.",
        "Revoking can't be undone.",
        "Nothing was revoked.",
    )


@contextmanager
def candidates_noted(json: bool) -> Iterator[None]:
    """List the keys that are safest to revoke if the limit is reached. In JSON, the error itself has them."""
    from keystead.client import LimitReached

    try:
        yield
    except LimitReached as full:
        for key in () if json else full.candidates:
            used = key["last_used_at"] or "never"
            render.note(f'{key["id"]}: "{key["description"]}" ({key["hint"]}), last used {used}.')
        raise
