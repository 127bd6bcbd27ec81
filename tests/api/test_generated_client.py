"""A standard generator takes openapi.json as it is, and the client that it makes works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from keystead.api.openapi.document import describe, operations
from keystead.api.openapi.samples import sample_of
from tests.support.stub_server import TOKEN, json_response, stub_server

COMMITTED: Final = Path(__file__).parents[2] / "openapi.json"
DOCUMENT: Final = describe()
ASK: Final = """
import importlib, json, pathlib, sys
from generated.client import AuthenticatedClient
from generated.api.keys import keys_create, keys_list
from generated.api.workspaces import whoami
from generated.models import Key, NewKey

for file in pathlib.Path("generated").rglob("*.py"):
    importlib.import_module(".".join(file.with_suffix("").parts).removesuffix(".__init__"))
client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
me = whoami.sync(client=client)
made = keys_create.sync(client=client, body=NewKey(description="generated", scopes=["*"]))
listed = keys_list.sync(client=client, limit=3)
refused = keys_list.sync(client=client, limit=3)
print(json.dumps([me.key.id, str(me.key.created_at), made.token, len(listed.items), refused.code]))
"""
"""Imports all that was generated, and calls a server with it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the client was generated: `generated` in it, without a warning. The generator is never online."""
    folder = tmp_path_factory.mktemp("generator")
    (folder / "settings.yaml").write_text("post_hooks: []\n")
    words = ["--path", str(COMMITTED), "--output-path", "generated", "--meta", "none"]
    strict = ["--config", "settings.yaml", "--fail-on-warning"]
    command = [sys.executable, "-m", "openapi_python_client", "generate", *words, *strict]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, "arning" in done.stdout + done.stderr) == (0, False), done.stdout
    return folder


@pytest.mark.slow
def test_every_operation_is_generated(folder: Path) -> None:
    """One module for each operation, named by its id, under its tag."""
    files = {path.stem: path.parent.name for path in (folder / "generated" / "api").rglob("*.py")}
    for _, _, operation in operations(DOCUMENT):
        assert files[operation["operationId"]] == operation["tags"][0].replace(" ", "_")


@pytest.mark.slow
def test_the_generated_client_works(folder: Path) -> None:
    """It sends the token where it belongs and typed bodies, and reads answers and refusals as typed values."""
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
        done = subprocess.run(
            [sys.executable, "-c", ASK, server.url, TOKEN],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if "proxy" not in k.lower()},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr.replace(TOKEN, "<token>")
    key = samples[0]["key"]
    at = key["created_at"].replace("T", " ").replace("Z", "+00:00")
    told = [key["id"], at, samples[1]["token"], len(samples[2]["items"]), "insufficient-scope"]
    assert json.loads(done.stdout) == told
    assert [path for _, path, _, _ in server.requests] == [
        "/v1/whoami", "/v1/keys", "/v1/keys?limit=3", "/v1/keys?limit=3",
    ]  # fmt: skip
    assert {fields["authorization"] for _, _, fields, _ in server.requests} == {f"Bearer {TOKEN}"}
    assert json.loads(server.requests[1][3]) == {"description": "generated", "scopes": ["*"]}
