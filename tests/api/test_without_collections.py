"""`features.collections = false`: the document store is nowhere on the wire; what was stored stays, without effect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from keystead.api.openapi.document import operator_document, workspace_document
from keystead.bootstrap import Installation, open_installation
from keystead.domain.documents import CollectionDraft
from keystead.domain.errors import Invalid
from keystead.domain.keys import KeyDraft
from keystead.domain.scopes import OF_DOCUMENTS, Scopes
from keystead.settings import Settings
from tests.support.asgi import HOST, Response, scope_of
from tests.support.gate import GateApplication, bearer, gate_of
from tests.support.installations import PEPPERS, SandboxInstallation, own_sandbox, text_of

__all__ = ["own_sandbox"]

CALLS = [
    ("GET", "/v1/collections"),
    ("POST", "/v1/collections"),
    ("GET", "/v1/collections/docs"),
    ("DELETE", "/v1/collections/docs"),
    ("GET", "/v1/collections/docs/documents"),
    ("PUT", "/v1/collections/docs/documents/1"),
    ("POST", "/v1/collections/docs/documents/batch"),
]


@dataclass
class Without:
    """An installation whose document store was switched off after it had been used."""

    sandbox: SandboxInstallation
    installation: Installation
    gate: GateApplication
    token: str
    workspace_id: str

    def get(self, path: str, method: str = "GET", token: str | None = None) -> Response:
        """Send a request with the stored key's token, or another one."""
        headers = [HOST, *bearer(token or self.token)]
        return self.gate.send(scope_of(method, path, headers))


@pytest.fixture
def without(own_sandbox: SandboxInstallation) -> Iterator[Without]:
    """A key with the scopes of documents, and a collection; then the same database without the feature."""
    tenant = own_sandbox.tenant()
    own_sandbox.services.documents.create_collection(tenant, CollectionDraft("docs", "Docs"))
    scopes = [*OF_DOCUMENTS, "plan:read", "keys:read", "keys:write"]
    created = own_sandbox.key(tenant, scopes=scopes)
    settings = Settings(database=own_sandbox.url, features={"collections": False})
    installation = open_installation(settings, PEPPERS, own_sandbox.clock)
    own_sandbox.more.append(installation)
    bare = replace(own_sandbox, installation=installation)
    with asyncio.Runner() as runner:
        yield Without(
            bare, installation, gate_of(bare, runner), text_of(created), tenant.workspace_id
        )


def test_its_calls_do_not_exist(without: Without) -> None:
    """Each is the 404 of a path that never existed, byte for byte."""
    never = without.get("/v1/never")
    for method, path in CALLS:
        response = without.get(path, method)
        assert (response.status, response.body) == (404, never.body), (method, path)


def test_its_quotas_are_absent(without: Without) -> None:
    """The plan's use names neither of the two, for the workspace and for the operator."""
    quotas = without.get("/v1/plan").json()["quotas"]
    assert quotas.keys() == {"api_keys", "webhooks", "members"}
    use = without.installation.services.plans.of_workspace(without.workspace_id).use  # type: ignore[arg-type]
    assert use.quotas.keys() == quotas.keys()


@pytest.mark.parametrize("scope", sorted(OF_DOCUMENTS))
def test_its_scopes_are_not_granted(without: Without, scope: str) -> None:
    """No key gets one by name, and a key that has one passes none on; `*` can still be given."""
    keys, tenant = without.installation.services.keys, without.sandbox.tenant()
    with pytest.raises(Invalid, match="not a known scope"):
        keys.create(tenant, KeyDraft("x", scopes=[scope]))
    assert list(keys.create(tenant, KeyDraft("x", scopes=["*"])).key.scopes) == ["*"]


def test_stored_scopes_are_kept_and_inert(without: Without) -> None:
    """The key shows them, gateways know none of them, and its own new keys don't get them."""
    key = without.get("/v1/whoami").json()["key"]
    assert set(key["scopes"]) > OF_DOCUMENTS
    for scope in OF_DOCUMENTS:
        assert without.gate.ask(f"/{scope}", without.token).status == 403
    assert without.gate.ask("/plan:read", without.token).status == 200
    caller = without.sandbox.services.verifier.verify(without.token)
    made = without.installation.services.keys.create(caller.principal, KeyDraft("child"))  # type: ignore[union-attr]
    assert made.key.scopes == Scopes(["plan:read", "keys:read"])


def test_what_was_stored_is_back_with_the_feature(
    without: Without, own_sandbox: SandboxInstallation, runner: asyncio.Runner
) -> None:
    """Switched on again, the same key sees the same collection."""
    gate = gate_of(own_sandbox, runner)
    headers = [HOST, *bearer(without.token)]
    seen = gate.send(scope_of("GET", "/v1/collections/docs", headers))
    assert (seen.status, seen.json()["title"]) == (200, "Docs")


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """A second event loop."""
    with asyncio.Runner() as runner:
        yield runner


def test_the_documents_have_neither_calls_nor_quotas(without: Without) -> None:
    """The served documents are those without the feature; the scopes, tags and webhooks are gone too."""
    served = without.gate.send(scope_of("GET", "/openapi.json", [HOST])).json()
    described = workspace_document("http://127.0.0.1:8080", has_documents=False)
    assert served == json.loads(json.dumps(described))
    assert not [path for path in served["paths"] if "collections" in path]
    assert not {"collections", "documents"} & {tag["name"] for tag in served["tags"]}
    assert not [name for name in served["webhooks"] if name.startswith(("coll", "doc"))]
    for document in (served, operator_document(has_documents=False)):
        quotas = document["components"]["schemas"]["Quotas"]["properties"]
        assert quotas.keys() == {"api_keys", "webhooks", "members"}
    page = without.gate.send(scope_of("GET", "/docs", [HOST])).body.decode()
    assert "/v1/collections" not in page


def test_the_setting_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """From the file's table and from the environment, as JSON; unknown features are refused."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keystead.toml").write_text("[features]\ncollections = false\n")
    assert not Settings().features.collections
    monkeypatch.setenv("KEYSTEAD_FEATURES", '{"collections": true}')
    assert Settings().features.collections
    monkeypatch.setenv("KEYSTEAD_FEATURES", '{"search": false}')
    with pytest.raises(ValueError, match="search"):
        Settings()
