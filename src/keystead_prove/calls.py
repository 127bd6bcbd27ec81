"""The calls that experiments make to the servers: making keys, listing them, clearing up."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from keystead_prove.connection import Line, Reply

WHOAMI: Final = "/v1/whoami"
DESCRIPTION: Final = "keystead prove"
SCOPE_TO_KEEP: Final = "documents:read"
"""What is left of a key that was narrowed."""
_numbers = itertools.count(1)


class Refused(Exception):
    """The installation did not do what an experiment needs; the message says what, without any token."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that an experiment made: its id, its token, and the request that made it."""

    id: str
    token: str = field(repr=False)
    reply: Reply


def create(
    line: Line, *, expires_at: datetime | None = None, scopes: Sequence[str] | None = None
) -> Key:
    """A new key over that line. Refused where it is not made."""
    reply = line.send("POST", "/v1/keys", draft(expires_at, scopes))
    if reply.status != 201:
        raise Refused(f"a key was not made: the server answered {reply.status}")
    made = reply.json
    return Key(made["id"], made["token"], reply)


def draft(
    expires_at: datetime | None = None, scopes: Sequence[str] | None = None
) -> dict[str, object]:
    """What a creation sends: each key with a description of its own."""
    sent: dict[str, object] = {"description": f"{DESCRIPTION} {next(_numbers)}"}
    if expires_at is not None:
        sent["expires_at"] = expires_at.isoformat()
    if scopes is not None:
        sent["scopes"] = list(scopes)
    return sent


def unready(urls: Sequence[str], token: str) -> str | None:
    """The first server that does not accept this key, which every one should."""
    for url in urls:
        with Line(url, token) as line:
            if line.get(WHOAMI).status != 200:
                return url
    return None


def active_keys(line: Line) -> list[dict[str, str]]:
    """One page of the active keys, of 200 at most."""
    reply = line.get("/v1/keys?status=active&limit=200")
    if reply.status != 200:
        raise Refused(f"the keys were not listed: the server answered {reply.status}")
    items: list[dict[str, str]] = reply.json["items"]
    return items


def clear(line: Line) -> set[str]:
    """Revokes every active key but the one that does it, which is the one left."""
    while len(found := active_keys(line)) > 1:
        own = line.get(WHOAMI).json["key"]["id"]
        for key in found:
            if key["id"] != own:
                line.send("DELETE", f"/v1/keys/{key['id']}")
    return {key["id"] for key in found}


def anywhere(lines: Sequence[Line]) -> Line:
    """The line to a random server."""
    return random.choice(lines)  # noqa: S311 - which server is asked is no secret
