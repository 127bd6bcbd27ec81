"""A standard generator accepts both documents unchanged, and its client works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from keystead.api.openapi.document import operations
from keystead.api.openapi.samples import sample_of
from tests.support.described_calls import DOCUMENTS
from tests.support.stub_server import TOKEN, json_response, stub_server

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = DOCUMENTS["openapi.json"]
SETTINGS: Final = """
post_hooks: []
content_type_overrides:
  application/jsonl: text/plain
"""
"""Settings of the generator, which knows JSON lines by no name of their own: it reads them as text."""
ASK: Final = """
import importlib, json, pathlib, sys
from generated.client import AuthenticatedClient
from generated.api.keys import create_key, list_keys
from generated.api.workspaces import whoami
from generated.models import Key, NewKey

for file in pathlib.Path("generated").rglob("*.py"):
    importlib.import_module(".".join(file.with_suffix("").parts).removesuffix(".__init__"))
client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
me = whoami.sync(client=client)
made = create_key.sync(client=client, body=NewKey(description="generated", scopes=["*"]))
listed = list_keys.sync(client=client, limit=3)
refused = list_keys.sync(client=client, limit=3)
print(json.dumps([me.key.id, str(me.key.created_at), made.token, len(listed.items), refused.code]))
"""
"""A script that imports the generated client, and calls a server with it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the workspace API's client in `generated`."""
    return generate(tmp_path_factory.mktemp("generator"), "openapi.json")


def generate(folder: Path, file: str) -> Path:
    """Generate a client into `generated` of the folder, without warnings. The generator is never online."""
    (folder / "settings.yaml").write_text(SETTINGS)
    words = ["--path", str(ROOT / file), "--output-path", "generated", "--meta", "none"]
    strict = ["--config", "settings.yaml", "--fail-on-warning"]
    command = [sys.executable, "-m", "openapi_python_client", "generate", *words, *strict]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (process.returncode, "arning" in process.stdout + process.stderr) == (0, False), (
        process.stdout
    )
    return folder


def require_all(folder: Path, document: dict[str, Any]) -> None:
    """Check that each operation has a module, named by its id, under its tag."""
    files = {path.stem: path.parent.name for path in (folder / "generated" / "api").rglob("*.py")}
    for _, _, operation in operations(document):
        module = re.sub("([A-Z])", r"_\1", operation["operationId"]).lower()
        assert files[module] == operation["tags"][0].replace(" ", "_")


@pytest.mark.slow
def test_every_operation_is_generated(folder: Path) -> None:
    """The client of the workspace API has all of its calls."""
    require_all(folder, DOCUMENT)


@pytest.mark.slow
def test_the_operator_api_is_generated(tmp_path: Path) -> None:
    """The client of the operator API has all of its calls."""
    file = "openapi-operator.json"
    require_all(generate(tmp_path, file), DOCUMENTS[file])


@pytest.mark.slow
def test_the_generated_client_works(folder: Path) -> None:
    """It sends the token correctly and typed bodies, and reads responses and refusals as typed values."""
    schemas = DOCUMENT["components"]["schemas"]
    samples = [
        sample_of({"$ref": f"#/components/schemas/{name}"}, schemas)
        for name in ("Whoami", "CreatedKey", "KeyList")
    ]
    refusal = DOCUMENT["components"]["examples"]["insufficient-scope"]["value"]
    media = {"content-type": "application/problem+json"}
    with stub_server() as server:
        server.answers = [json_response(sample) for sample in samples]
        created = server.answers[1]
        server.answers[1] = (201, *created[1:])
        server.answers.append((403, media, json.dumps(refusal).encode()))
        process = subprocess.run(
            [sys.executable, "-c", ASK, server.url, TOKEN],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if "proxy" not in k.lower()},
            capture_output=True,
            text=True,
            check=False,
        )
    assert process.returncode == 0, process.stderr.replace(TOKEN, "<token>")
    key = samples[0]["key"]
    at = key["created_at"].replace("T", " ").replace("Z", "+00:00")
    expected = [key["id"], at, samples[1]["token"], len(samples[2]["items"]), "insufficient-scope"]
    assert json.loads(process.stdout) == expected
    assert [path for _, path, _, _ in server.requests] == [
        "/v1/whoami", "/v1/keys", "/v1/keys?limit=3", "/v1/keys?limit=3",
    ]  # fmt: skip
    assert {fields["authorization"] for _, _, fields, _ in server.requests} == {f"Bearer {TOKEN}"}
    assert json.loads(server.requests[1][3]) == {"description": "generated", "scopes": ["*"]}
