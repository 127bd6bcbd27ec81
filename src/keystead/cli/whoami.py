"""`keystead whoami`: whose key this is, asked of the server with its token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.cli import render, shapes
from keystead.cli.options import Json
from keystead.cli.server import Server, connected

if TYPE_CHECKING:
    from keystead.client import Whoami

USUAL: Final = Server()


def whoami(*, server: Server = USUAL, json: Json = False) -> None:
    """Say whose key this is: its workspace, what it may do, when it ends."""
    with connected(server) as client:
        found = client.whoami()
    if json:
        render.print_json(_shape(found))
        return
    key = found.key
    render.print_fields(
        {
            "workspace": f"{found.workspace.name} ({found.workspace.id})",
            "plan": found.workspace.plan,
            "key": f"{key.id} ({key.hint})",
            "description": key.description,
            "scopes": " ".join(key.scopes),
            "expires": render.at(key.expires_at),
        }
    )


def _shape(found: Whoami) -> shapes.Shape:
    key = found.key
    instants = ("created_at", "expires_at", "last_used_at", "revoked_at")
    plain = {name: getattr(key, name) for name in key.__slots__}
    told = {name: shapes.instant(plain[name]) for name in instants}
    maker = {"type": key.created_by.type, "id": key.created_by.id, "name": key.created_by.name}
    of = found.workspace
    workspace = {"id": of.id, "name": of.name, "plan": of.plan}
    return {"workspace": workspace, "key": plain | told | {"created_by": maker}}
