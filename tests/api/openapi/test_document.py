"""The OpenAPI documents: complete, committed, and the same as the server's behavior."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.api.bodies.body import Body
from keystead.api.openapi.document import EXAMPLE
from keystead.domain.events import EventType
from keystead.domain.scopes import BUILT_IN
from keystead.http.problems import STATUS
from tests.support.api_client import BASE, Tenant
from tests.support.described_calls import CALLS, DOCUMENTS, OPERATIONS, SCHEMAS

ROOT = Path(__file__).parents[3]
WORKSPACE = DOCUMENTS["openapi.json"]
FILES = pytest.mark.parametrize("file", DOCUMENTS)


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for member in value.values() if isinstance(value, dict) else value:
        if isinstance(member, dict | list):
            yield from walk(member)


@pytest.mark.slow
def test_the_committed_documents_are_current(tmp_path: Path) -> None:
    """The files of the repository are what `make openapi` writes."""
    command = [sys.executable, "-m", "keystead.api.openapi.document", str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (process.stdout, process.stderr) == ("", "")
    assert {path.name for path in tmp_path.iterdir()} == set(DOCUMENTS)
    for name in DOCUMENTS:
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes(), "run `make openapi`"


@FILES
def test_the_committed_document_is_the_described_one(file: str) -> None:
    """Each file holds the document that the code builds."""
    assert json.loads((ROOT / file).read_text(encoding="utf-8")) == DOCUMENTS[file], (
        "`make openapi`"
    )


@pytest.mark.parametrize(
    ("path", "file"),
    [("/openapi.json", "openapi.json"), ("/operator/openapi.json", "openapi-operator.json")],
)
def test_the_documents_are_public(quick: Tenant, path: str, file: str) -> None:
    """Both need no key, and are the committed documents, except that a server names itself."""
    answer = quick.api.client().get(path)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENTS[file] | {"servers": [{"url": BASE}]}
    assert DOCUMENTS[file]["servers"] == [{"url": EXAMPLE}]


@FILES
def test_every_reference_resolves(file: str) -> None:
    """Every `$ref` has its component, and every component a use."""
    document = DOCUMENTS[file]
    targets = {value["$ref"] for value in walk(document) if "$ref" in value}
    components = {
        f"#/components/{kind}/{name}"
        for kind, by_name in document["components"].items()
        if kind not in {"securitySchemes", "examples"}
        for name in by_name
    }
    assert {target for target in targets if "/examples/" not in target} == components
    examples = {target.rpartition("/")[2] for target in targets if "/examples/" in target}
    assert examples <= set(document["components"]["examples"])


@FILES
def test_security_schemes_are_those_in_use(file: str) -> None:
    """Each document has the credentials of its own calls, and no others."""
    used = {
        scheme
        for item in DOCUMENTS[file]["paths"].values()
        for operation in item.values()
        for requirement in operation["security"]
        for scheme in requirement
    }
    assert used == set(DOCUMENTS[file]["components"]["securitySchemes"])


def test_each_document_has_its_own_calls() -> None:
    """What customers call is in one, the operator API and the gate in the other, each id once."""
    roots = {
        file: {path.split("/")[1] for path in document["paths"]}
        for file, document in DOCUMENTS.items()
    }
    assert roots == {
        "openapi.json": {"v1", "revoke", "oauth", ".well-known"},
        "openapi-operator.json": {"operator", "introspect", "forward-auth"},
    }
    ids = [
        operation["operationId"]
        for document in DOCUMENTS.values()
        for kind in ("paths", "webhooks")
        for item in document.get(kind, {}).values()
        for operation in item.values()
    ]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", id) for id in ids)


def test_every_type_of_event_has_its_webhook() -> None:
    """Each describes one type's payload and the headers of Standard Webhooks."""
    assert list(WORKSPACE["webhooks"]) == [str(type) for type in EventType]
    headers = {
        f"#/components/parameters/{name}"
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    }
    for type, item in WORKSPACE["webhooks"].items():
        assert {parameter["$ref"] for parameter in item["post"]["parameters"]} == headers
        schema = item["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema["properties"] == {"type": {"const": type}}


def test_every_call_is_described() -> None:
    """A summary, a description, an explained tag, an id for generators, the scope in words and in `security`."""
    tags = {t["name"] for each in DOCUMENTS.values() for t in each["tags"] if t["description"]}
    assert len(OPERATIONS) == len(CALLS) >= 38
    for id, operation in OPERATIONS.items():
        assert re.match(
            r"whoami$|(create|list|get|update|put|set|push|delete|revoke|rotate|export|renew)[A-Z]"
            r"|(suspend|resume|test|resend)[A-Z]",
            id,
        )
        assert set(operation["tags"]) <= tags
        assert len(operation["summary"]) <= 40
        assert operation["description"]
        scopes = operation["security"][0].get("key", [])
        assert set(scopes) <= set(BUILT_IN)
        assert all(f"`{scope}`" in operation["description"] for scope in scopes)
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (id, parameter["name"])


def test_every_refusal_is_a_problem() -> None:
    """Each error status of an operation is a problem, and lists the codes with that status."""
    for operation in OPERATIONS.values():
        assert {"400", "401", "422", "503", "default"} <= set(operation["responses"])
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                continue
            media = response["content"]["application/problem+json"]
            assert media["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert {STATUS[code] for code in media.get("examples", ())} <= {int_of(status)}


def int_of(status: str) -> int:
    """Return the status as a number; 0 for the default."""
    return int(status) if status.isdigit() else 0


def test_examples_are_problems_as_they_are_answered() -> None:
    """Code, status and page of each example belong together."""
    for code, example in WORKSPACE["components"]["examples"].items():
        value = example["value"]
        assert (value["code"], value["status"]) == (code, STATUS[code])
        assert value["type"].endswith(f"/problems/{code}")


def test_every_member_is_explained() -> None:
    """Each member of a request has a description, and no default that a generated client would send by itself."""
    for name in (kind.__name__ for kind in bodies(Body)):
        for member, schema in SCHEMAS[name]["properties"].items():
            assert schema["description"], (name, member)
            assert "default" not in schema


def bodies(kind: type[Body]) -> Iterator[type[Body]]:
    """Yield every request body."""
    for below in kind.__subclasses__():
        yield below
        yield from bodies(below)


@pytest.mark.parametrize("method_and_path", [f"{method} {path}" for path, method, _ in CALLS])
def test_every_described_call_is_served(quick: Tenant, method_and_path: str) -> None:
    """No operation of the document gets a 405, or a 404 for an unknown path."""
    method, path = method_and_path.split()
    sent = path.replace("{name}", "none").replace("{id}", "none")
    answer = quick.client().send(method.upper(), sent)
    assert answer.status_code not in {405, 500}
    if answer.status_code == 404:
        assert answer.json()["detail"].startswith("There is no such")


@FILES
def test_large_numbers_are_marked(file: str) -> None:
    """Clients in typed languages use 64 bits for an integer that is not bounded to 31, such as `exp` or a limit."""
    integers = [each for each in walk(DOCUMENTS[file]) if each.get("type") == "integer"]
    assert len(integers) > 5
    for each in integers:
        assert each.get("maximum", 2**31) < 2**31 or each.get("format") == "int64", each
