"""The OpenAPI document: complete, committed, and what the server does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.api.bodies import Body
from keystead.api.openapi.document import describe, operations, to_json
from keystead.domain.scopes import BUILT_IN
from keystead.http.problems import STATUS
from tests.support.api_client import Tenant

COMMITTED = Path(__file__).parents[3] / "openapi.json"
DOCUMENT = describe()
OPERATIONS = {operation["operationId"]: operation for _, _, operation in operations(DOCUMENT)}


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for member in value.values() if isinstance(value, dict) else value:
        if isinstance(member, dict | list):
            yield from walk(member)


def test_the_committed_document_is_what_the_code_says() -> None:
    """openapi.json in the repository is the one that `make openapi` writes."""
    assert COMMITTED.read_text(encoding="utf-8") == to_json(DOCUMENT), "run `make openapi`"


@pytest.mark.slow
def test_the_module_prints_the_document() -> None:
    """`python -m keystead.api.openapi.document` prints openapi.json, and nothing on standard error."""
    command = [sys.executable, "-m", "keystead.api.openapi.document"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (to_json(DOCUMENT), "")


def test_everybody_may_read_the_document(quick: Tenant) -> None:
    """/openapi.json needs no key, and is the committed document."""
    answer = quick.api.client().get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(COMMITTED.read_text(encoding="utf-8"))


def test_every_reference_leads_somewhere() -> None:
    """No `$ref` without its component, and no component without a use."""
    targets = {found["$ref"] for found in walk(DOCUMENT) if "$ref" in found}
    components = {
        f"#/components/{kind}/{name}"
        for kind, named in DOCUMENT["components"].items()
        if kind not in {"securitySchemes", "examples"}
        for name in named
    }
    assert {target for target in targets if "/examples/" not in target} == components
    examples = {target.rpartition("/")[2] for target in targets if "/examples/" in target}
    assert examples <= set(DOCUMENT["components"]["examples"])


def test_every_call_is_described() -> None:
    """A summary, a description, an explained tag, an id for generators, the scope in words and in `security`."""
    tags = {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}
    assert len(OPERATIONS) == 38
    for id, operation in OPERATIONS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)?", id)
        assert set(operation["tags"]) <= tags
        assert len(operation["summary"]) <= 40
        assert operation["description"]
        scopes = operation["security"][0].get("key", [])
        assert set(scopes) <= set(BUILT_IN)
        assert all(f"`{scope}`" in operation["description"] for scope in scopes)
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (id, parameter["name"])


def test_every_refusal_is_a_problem() -> None:
    """Each error status of an operation is a problem, and lists codes of that status."""
    for operation in OPERATIONS.values():
        assert {"400", "401", "422", "503", "default"} <= set(operation["responses"])
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                continue
            media = response["content"]["application/problem+json"]
            assert media["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert {STATUS[code] for code in media.get("examples", ())} <= {int_of(status)}


def int_of(status: str) -> int:
    """The status as a number; 0 for the default."""
    return int(status) if status.isdigit() else 0


def test_examples_are_problems_as_they_are_answered() -> None:
    """Code, status and page belong together in each."""
    for code, example in DOCUMENT["components"]["examples"].items():
        value = example["value"]
        assert (value["code"], value["status"]) == (code, STATUS[code])
        assert value["type"].endswith(f"/problems/{code}")


def test_every_member_is_explained() -> None:
    """Each member of what calls take has a description, and none a default that a generator would send unasked."""
    for name in (kind.__name__ for kind in bodies(Body)):
        for member, schema in DOCUMENT["components"]["schemas"][name]["properties"].items():
            assert schema["description"], (name, member)
            assert "default" not in schema


def bodies(kind: type[Body]) -> Iterator[type[Body]]:
    """Every body there is."""
    for below in kind.__subclasses__():
        yield below
        yield from bodies(below)


@pytest.mark.parametrize("method_and_path", [f"{m} {p}" for p, m, _ in operations(DOCUMENT)])
def test_every_described_call_is_served(quick: Tenant, method_and_path: str) -> None:
    """No operation of the document is answered with 405, nor as a path that does not exist."""
    method, path = method_and_path.split()
    sent = path.replace("{name}", "none").replace("{id}", "none")
    answer = quick.client().send(method.upper(), sent)
    assert answer.status_code not in {405, 500}
    if answer.status_code == 404:
        assert answer.json()["detail"].startswith("There is no such")
