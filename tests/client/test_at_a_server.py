"""The SDK against a real server: its guide block by block, and the calls of both kinds of client."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from keystead import bootstrap
from keystead.client import (
    AsyncClient,
    AsyncOperator,
    Client,
    DocumentDraft,
    Introspection,
    Invalid,
    InvalidToken,
    NotFound,
    NotSuspended,
    Operator,
    Quota,
    Token,
)
from keystead.domain.credentials import CredentialKind
from keystead.domain.principals import Actor, PrincipalKind
from tests.support.sdk_clients import KINDS, OPERATORS, opened
from tests.support.server_process import ServerProcess, serving

GUIDE = (Path(__file__).parents[2] / "docs/guides/sdk.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
TABLES = {"Client": (Client, AsyncClient), "Operator": (Operator, AsyncOperator)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over SQLite."""
    with serving(f"sqlite:///{tmp_path_factory.mktemp('guide') / 'keystead.db'}") as server:
        yield server


def credential(server: ServerProcess, kind: CredentialKind) -> str:
    """Return the token of a new credential."""
    installation = bootstrap.open_safely(server.settings)
    try:
        by = Actor(PrincipalKind.OPERATOR, "tests", "tests")
        return installation.services.credentials.create("tests", by, kind)[1].reveal()
    finally:
        installation.close()


def test_the_guide_works(server: ServerProcess) -> None:
    """Every block of the page runs, in order, and prints no token."""
    shown: list[Any] = []
    kept: list[Any] = []
    names: dict[str, Any] = {"token": server.token(), "print": shown.append, "keep": kept.append}
    names["print"] = lambda *values: shown.extend(values)
    assert len(BLOCKS) >= 5
    for block in BLOCKS:
        exec(block.replace("http://127.0.0.1:8080", server.base_url), names)  # noqa: S102 - our own page
    descriptions = asyncio.run(names["descriptions"](server.base_url, names["token"]))
    assert "data-warehouse sync" in descriptions
    assert "one more" in descriptions
    assert ("changed meanwhile:", "renamed by another") in pairwise(shown)
    assert "Lost passwords" in shown
    assert [isinstance(token, str) for token in kept] == [True, True]
    assert not [token for token in kept if token in str(shown)]


@pytest.mark.parametrize("name", TABLES)
def test_the_guide_knows_every_method(name: str) -> None:
    """The tables list exactly the methods of the clients."""
    rows = re.search(rf"\| `{name}`, with.*?\n\n", GUIDE, re.DOTALL)
    assert rows is not None
    documented = set()
    for cell in re.findall(r"^\| (`.*?`) \|", rows[0], re.MULTILINE):
        calls = re.findall(r"`([\w.]+)\(\)`", cell)
        part = calls[0].rpartition(".")[0] if calls else ""
        documented |= {call if "." in call or not part else f"{part}.{call}" for call in calls}
    own = methods(TABLES[name][0]) - {"introspect", "revoke_token", "close", "over"}
    assert documented == own


def methods(kind: type[Any]) -> set[str]:
    """Return the methods of a client and of its resources, as `keys.create`."""
    names = set()
    for name in (name for name in dir(kind) if not name.startswith("_")):
        member = getattr(kind, name)
        part = getattr(member, "fget", None)
        if part is None:
            names.add(name)
        elif part.__annotations__["return"] == name.title():
            inner = part.__globals__[part.__annotations__["return"]]
            names |= {f"{name}.{each}" for each in dir(inner) if not each.startswith("_")}
    return names


def test_a_token_is_never_shown(server: ServerProcess) -> None:
    """A created key prints without its token, on a real response too."""
    with Client(server.base_url, server.token()) as client:
        created = client.keys.create("quiet")
    assert isinstance(created.token, Token)
    assert created.token.reveal() not in f"{created} {created!r} {created.token}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_service_asks_about_tokens(server: ServerProcess, kind: type[Any]) -> None:
    """A service reads the state of tokens, and revokes a leaked one."""
    service = credential(server, CredentialKind.SERVICE)
    token = server.token("documents:read")
    with opened(kind, server.base_url, service) as client:
        token_state = client.introspect(token)
        assert (token_state.active, token_state.scopes) == (True, ("documents:read",))
        assert token_state.workspace.name == "My workspace"
        assert token_state.permits("documents:read")
        assert not token_state.permits("documents:write")
        assert token_state.issued_at is not None
        assert token_state.expires_at is None
        client.revoke_token(token)
        assert client.introspect(token) == client.introspect("nonsense") == Introspection(False)
        assert client.introspect(service) == Introspection(active=False)
        with pytest.raises(InvalidToken):
            client.whoami()


def test_star_permits_all_but_managing_keys() -> None:
    """The SDK understands `*` as the server does; an inactive token grants nothing."""
    everything = Introspection(active=True, scopes=("*",))
    assert everything.permits("invoices:read")
    assert not everything.permits("keys:write")
    assert not Introspection(active=False, scopes=("*",)).permits("documents:read")


@pytest.mark.parametrize("kind", OPERATORS)
def test_a_backend_sees_to_its_tenants(server: ServerProcess, kind: type[Any]) -> None:
    """An operator creates, finds, suspends and resumes a workspace, sets its plan, and signs a user in."""
    token = credential(server, CredentialKind.OPERATOR)
    with opened(kind, server.base_url, token) as operator:
        workspace = operator.workspaces.create(f"Of {kind.__name__}", owner="Ann")
        assert [item.id for item in operator.workspaces.list(query=kind.__name__.lower())] == [
            workspace.id
        ]
        on = operator.workspaces.put_on_plan(workspace.id, "team", overrides={"api_keys": None})
        assert (on.quotas["api_keys"].limit, on.quotas["members"]) == (None, Quota(25, 1))
        assert operator.workspaces.suspend(workspace.id).suspended_at is not None
        assert operator.workspaces.resume(workspace.id) == operator.workspaces.update(
            workspace.id, name=workspace.name
        )
        session = operator.portal_session(workspace.id, user_id="u1", name="Ada", role="viewer")
        assert session.url.startswith(f"{server.base_url}/sign-in?link=")
        with pytest.raises(NotFound):
            operator.workspaces.get("ws_02tcRIyrxLXTR81B3dqdOx")


@pytest.mark.parametrize("kind", OPERATORS)
def test_a_backend_exports_and_deletes(server: ServerProcess, kind: type[Any]) -> None:
    """An export arrives whole over the network; a deleted workspace is not found, not even to export."""
    with opened(kind, server.base_url, credential(server, CredentialKind.OPERATOR)) as operator:
        workspace = operator.workspaces.create(f"Of {kind.__name__}", owner="Ann")
        written: list[bytes] = []
        count = operator.workspaces.export(workspace.id, written.append)
        lines = [json.loads(line) for line in b"".join(written).splitlines()]
        assert lines[-1] == {"type": "end", "lines": count}
        assert [line["data"]["name"] for line in lines if line["type"] == "member"] == ["Ann"]
        with pytest.raises(NotSuspended):
            operator.workspaces.delete(workspace.id)
        operator.workspaces.suspend(workspace.id)
        for _ in range(2):
            operator.workspaces.delete(workspace.id)
        with pytest.raises(NotFound):
            operator.workspaces.get(workspace.id)
        with pytest.raises(NotFound):
            operator.workspaces.export(workspace.id, written.append)
        assert len(lines) == b"".join(written).count(b"\n")


def test_a_bad_batch_names_its_documents(server: ServerProcess) -> None:
    """The error lists every refused document by its ID, and nothing was pushed."""
    drafts = [
        DocumentDraft("fine", "text"),
        DocumentDraft("one", "", url="ftp://x"),
        DocumentDraft("two", "", "x" * 301),
    ]
    token = server.token()
    for kind in KINDS:
        name = f"batch-{kind.__name__.lower()}"
        with opened(kind, server.base_url, token) as client:
            client.collections.create(name)
            with pytest.raises(Invalid) as refused:
                client.documents.push(name, drafts)
            assert [error.id for error in refused.value.errors] == ["one", "two"]
            assert "/upsert/2/title (two): must be" in str(refused.value)
            assert not client.documents.page(name).items
