"""The document built from the route table means what the committed one, from the framework, means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keystead.api.openapi.document import describe, operations

BEFORE = json.loads((Path(__file__).parents[3] / "openapi.json").read_text(encoding="utf-8"))
AFTER = describe()
PARTS = [(*each[:2],) for each in operations(BEFORE)]
GATE = ["/introspect", "/revoke", "/forward-auth/{scope}"]


def meaning(value: Any, document: dict[str, Any]) -> Any:
    """Return a value of the document with its references resolved, without order, empty members and schemas' titles."""
    if isinstance(value, list):
        return sorted((meaning(each, document) for each in value), key=repr)
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        target: Any = document
        for name in value["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return meaning({**target, **{k: v for k, v in value.items() if k != "$ref"}}, document)
    is_schema = {"type", "anyOf", "enum", "const"} & value.keys() and "status" not in value
    if "in" in value and "schema" in value:
        # The framework repeats a parameter's description in its schema.
        schema = {k: v for k, v in value["schema"].items() if k != "description"}
        value = {**value, "schema": schema}
    members = {
        name: meaning(each, document) for name, each in value.items() if each not in ({}, [])
    }
    if "in" in value and "schema" in members:
        members["schema"].pop("description", None)
    if is_schema and isinstance(value.get("title"), str):
        del members["title"]
    return {name: members[name] for name in sorted(members)}


@pytest.mark.parametrize(("path", "method"), PARTS)
def test_a_call_means_the_same(path: str, method: str) -> None:
    """Each call has the same parameters, bodies, responses, scopes and texts."""
    before, after = BEFORE["paths"][path][method], AFTER["paths"][path][method]
    assert meaning(after, AFTER) == meaning(before, BEFORE)


@pytest.mark.parametrize("path", GATE)
def test_the_gate_means_the_same(path: str) -> None:
    """The gate's calls have the same meaning."""
    assert meaning(AFTER["paths"][path], AFTER) == meaning(BEFORE["paths"][path], BEFORE)


def test_the_rest_means_the_same() -> None:
    """There are the same paths, methods and components, with the same meaning, and the same head."""
    paths = [{path: set(item) for path, item in each["paths"].items()} for each in (BEFORE, AFTER)]
    assert paths[1] == paths[0]
    assert {k: meaning(v, AFTER) for k, v in AFTER.items() if k not in {"paths", "components"}} == {
        k: meaning(v, BEFORE) for k, v in BEFORE.items() if k not in {"paths", "components"}
    }
    assert AFTER["components"].keys() == BEFORE["components"].keys()
    for kind, by_name in BEFORE["components"].items():
        assert AFTER["components"][kind].keys() == by_name.keys()
        for name, value in by_name.items():
            assert meaning(AFTER["components"][kind][name], AFTER) == meaning(value, BEFORE), name
