"""`keystead plan`: the plan of the workspace of a key, asked of the server with its token."""

from __future__ import annotations

from typing import Final

from keystead.cli import render, shapes
from keystead.cli.options import Json
from keystead.cli.server import Server, connected

USUAL: Final = Server()


def plan(*, server: Server = USUAL, json: Json = False) -> None:
    """Say what the plan of the key's workspace allows, and how much of it is used."""
    with connected(server) as client:
        found = shapes.answered(client.plan())
    if json:
        render.print_json(found)
        return
    named = {"plan": f"{found['plan']['name']} ({found['plan']['id']})"}
    render.print_fields(named | shapes.bounds(found["quotas"]))
