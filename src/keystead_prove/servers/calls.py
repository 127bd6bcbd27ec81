"""The API calls of experiments: creating, listing and revoking keys."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from keystead_prove.servers.connection import Connection, Reply

WHOAMI: Final = "/v1/whoami"
DESCRIPTION: Final = "keystead prove"
SCOPE_TO_KEEP: Final = "documents:read"
"""The only scope of a narrowed key."""
_numbers = itertools.count(1)


class Refused(Exception):
    """The installation did not do what an experiment needs. The message says what, without any token."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an experiment: its id, its token, and the response to its creation."""

    id: str
    token: str = field(repr=False)
    reply: Reply


def create(
    connection: Connection,
    *,
    expires_at: datetime | None = None,
    scopes: Sequence[str] | None = None,
) -> Key:
    """Create a key. Raises Refused."""
    reply = connection.send("POST", "/v1/keys", draft(expires_at, scopes))
    if reply.status != 201:
        raise Refused(f"a key was not created: the server responded with {reply.status}")
    body = reply.json
    return Key(body["id"], body["token"], reply)


def draft(
    expires_at: datetime | None = None, scopes: Sequence[str] | None = None
) -> dict[str, object]:
    """Return the body of a creation, with a unique description."""
    body: dict[str, object] = {"description": f"{DESCRIPTION} {next(_numbers)}"}
    if expires_at is not None:
        body["expires_at"] = expires_at.isoformat()
    if scopes is not None:
        body["scopes"] = list(scopes)
    return body


def unready(urls: Sequence[str], token: str) -> str | None:
    """Return the first server that does not accept this key, None if all do."""
    for url in urls:
        with Connection(url, token) as connection:
            if connection.get(WHOAMI).status != 200:
                return url
    return None


def active_keys(connection: Connection) -> list[dict[str, str]]:
    """Return one page of at most 200 active keys."""
    reply = connection.get("/v1/keys?status=active&limit=200")
    if reply.status != 200:
        raise Refused(f"the keys were not listed: the server responded with {reply.status}")
    items: list[dict[str, str]] = reply.json["items"]
    return items


def clear(connection: Connection) -> set[str]:
    """Revoke all active keys except the one that is used for it. Returns the remaining ids."""
    while len(keys := active_keys(connection)) > 1:
        own = connection.get(WHOAMI).json["key"]["id"]
        for key in keys:
            if key["id"] != own:
                connection.send("DELETE", f"/v1/keys/{key['id']}")
    return {key["id"] for key in keys}


def anywhere(connections: Sequence[Connection]) -> Connection:
    """Return the connection to a random server."""
    return random.choice(connections)  # noqa: S311 - not a secret
