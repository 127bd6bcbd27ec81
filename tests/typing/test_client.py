"""The types of the SDK: `make check` checks the functions here, `make prove` a separate program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, assert_type

import pytest

from keystead.client import (
    AsyncClient,
    AsyncOperator,
    Client,
    Collection,
    CreatedKey,
    Document,
    DocumentDraft,
    DocumentSummary,
    Event,
    Introspection,
    Key,
    KeyPage,
    ManagedWorkspace,
    Operator,
    Page,
    PlanUse,
    PlanWithLimits,
    PortalSession,
    PushReport,
    Quota,
    Token,
    Webhook,
    Whoami,
    WorkspaceWithUse,
)

STRANGER = """
import asyncio
from keystead.client import AsyncClient, Client, LimitReached

with Client("https://keys.example.com", "x") as client:
    for key in client.keys.list(status="active"):
        reveal_type(key.expires_at)
    try:
        reveal_type(client.keys.create("x").token)
    except LimitReached as full:
        reveal_type(full.used)
    client.keys.list(status="old")
    client.keys.create("x").token + "y"
    client.keys.create(7)


async def main() -> None:
    async with AsyncClient("https://keys.example.com", "x") as client:
        reveal_type(await client.plan())
        for key in client.keys.list():
            pass
"""


def waiting(client: Client, operator: Operator) -> None:
    """Check the types of the synchronous calls."""
    assert_type(client.whoami(), Whoami)
    assert_type(client.plan(), PlanUse)
    assert_type(client.plan().quotas, Mapping[str, Quota])
    assert_type(client.keys.list(), Iterator[Key])
    assert_type(client.keys.page(), KeyPage)
    assert_type(client.keys.page().items, list[Key])
    assert_type(client.keys.create("x"), CreatedKey)
    assert_type(client.keys.create("x").token, Token)
    assert_type(client.collections.page(), Page[Collection])
    assert_type(client.documents.get("c", "d"), Document)
    assert_type(client.documents.list("c"), Iterator[DocumentSummary])
    assert_type(client.documents.push("c", [DocumentDraft("d", "text")]), PushReport)
    assert_type(client.events.list(), Iterator[Event])
    assert_type(client.webhooks.list(), Iterator[Webhook])
    assert_type(client.introspect("t"), Introspection)
    assert_type(operator.workspaces.page(), Page[ManagedWorkspace])
    assert_type(operator.workspaces.put_on_plan("w", "p"), WorkspaceWithUse)
    assert_type(operator.plans(), Sequence[PlanWithLimits])


async def awaiting(client: AsyncClient, operator: AsyncOperator) -> None:
    """Check the types of the asynchronous calls."""
    assert_type(await client.whoami(), Whoami)
    assert_type(client.keys.list(), AsyncIterator[Key])
    assert_type([key async for key in client.keys.list()], list[Key])
    assert_type(await client.keys.create("x"), CreatedKey)
    assert_type(await client.documents.page("c"), Page[DocumentSummary])
    assert_type(await client.introspect("t"), Introspection)
    assert_type(await operator.workspaces.get("w"), WorkspaceWithUse)
    session = await operator.portal_session("w", user_id="u", name="Ada", role="viewer")
    assert_type(session, PortalSession)


def test_the_package_says_that_it_is_typed() -> None:
    """PEP 561: without the marker a type checker would ignore the types."""
    assert files("keystead").joinpath("py.typed").is_file()


@pytest.mark.prove
def test_a_stranger_s_checker_sees_the_types(tmp_path: Path) -> None:
    """mypy, strict, in a folder of its own: values have their types, and each of four mistakes is found."""
    (tmp_path / "program.py").write_text(STRANGER)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "program.py"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.stderr == ""
    notes: dict[str, Any] = {"note": [], "error": []}
    for line in process.stdout.splitlines():
        _, number, kind, text = line.split(":", 3)
        notes[kind.strip()].append((int(number), text.strip()))
    revealed = [text.split('"')[1] for _, text in notes["note"] if "Revealed" in text]
    assert revealed == [
        "datetime.datetime | None",
        "keystead.domain.token.Token",
        "int",
        "keystead.client.results.PlanUse",
    ]
    assert [number for number, _ in notes["error"]] == [12, 13, 14, 20]
