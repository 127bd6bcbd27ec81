"""Lines of code that people copy: pushing and finding documents, with the real names of their workspace."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from keystead.developer_area.workspace.contexts import CodeTab

_BEARER = '-H "Authorization: Bearer $KEYSTEAD_TOKEN"'
_JSON = '-H "Content-Type: application/json"'
_DOCUMENT = {"id": "hello", "title": "Hello", "text": "Hello from our first document."}
_WORD = "hello"


def push_lines(base_url: str, collection: str, *, create: bool = False) -> Sequence[CodeTab]:
    """How a document gets into the collection; `create`: there is none of that name yet."""
    return _tabs(
        _push_curl(base_url, collection, create=create),
        _push_python(base_url, collection, create=create),
        _push_javascript(base_url, collection, create=create),
        _push_cli(base_url, collection, create=create),
    )


def query_lines(base_url: str, collection: str) -> Sequence[CodeTab]:
    """How the documents of a collection are found."""
    url = f"{_documents(base_url, collection)}?query={_WORD}"
    found = f"client.documents.search({_text(collection)}, {_text(_WORD)}).items"
    python = f"    for document in {found}:\n        print(document.id, document.title)"
    cli = f"keystead documents search {_WORD} --collection {collection}"
    return _tabs(
        f"curl {_BEARER} \\\n  {shlex.quote(url)}",
        _python(base_url, "Client", python),
        _javascript(_fetch(url)),
        _cli(base_url, cli),
    )


def _tabs(curl: str, python: str, javascript: str, cli: str) -> Sequence[CodeTab]:
    return [
        CodeTab("curl", "curl", curl),
        CodeTab("python", "Python", python),
        CodeTab("javascript", "JavaScript", javascript),
        CodeTab("cli", "CLI", cli),
    ]


def _push_curl(base_url: str, collection: str, *, create: bool) -> str:
    made = [_curl_post(f"{base_url}/v1/collections", {"name": collection})] if create else []
    push = _curl_post(f"{_documents(base_url, collection)}/batch", {"upsert": [_DOCUMENT]})
    return "\n".join([*made, push])


def _curl_post(url: str, body: object) -> str:
    return (
        f"curl {shlex.quote(url)} \\\n  {_BEARER} \\\n  {_JSON} \\\n  -d {shlex.quote(_json(body))}"
    )


def _push_python(base_url: str, collection: str, *, create: bool) -> str:
    name = _text(collection)
    made = f"    client.collections.create({name})\n" if create else ""
    fields = ", ".join(f"{field}={_text(value)}" for field, value in _DOCUMENT.items())
    push = f"    print(client.documents.push({name}, [\n        DocumentDraft({fields}),\n    ]))"
    return _python(base_url, "Client, DocumentDraft", made + push)


def _python(base_url: str, names: str, body: str) -> str:
    head = f"import os\n\nfrom keystead.client import {names}\n\n"
    token = 'os.environ["KEYSTEAD_TOKEN"]'
    return f"{head}with Client({_text(base_url)}, {token}) as client:\n{body}"


def _push_javascript(base_url: str, collection: str, *, create: bool) -> str:
    made = [_fetch(f"{base_url}/v1/collections", {"name": collection})] if create else []
    push = _fetch(f"{_documents(base_url, collection)}/batch", {"upsert": [_DOCUMENT]})
    return _javascript(*made, push)


def _javascript(*calls: str) -> str:
    head = (
        "const headers = {\n"
        '  "Authorization": `Bearer ${process.env.KEYSTEAD_TOKEN}`,\n'
        '  "Content-Type": "application/json",\n};\n'
    )
    said = "".join(f"console.log(await (await {call}).json());\n" for call in calls)
    return (head + said).rstrip()


def _fetch(url: str, body: object | None = None) -> str:
    if body is None:
        return f"fetch({_text(url)}, {{ headers }})"
    text = f"JSON.stringify({_json(body)})"
    return f'fetch({_text(url)}, {{\n  method: "POST",\n  headers,\n  body: {text},\n}})'


def _push_cli(base_url: str, collection: str, *, create: bool) -> str:
    made = " --create-collection" if create else ""
    return _cli(base_url, f"keystead documents push ./docs --collection {collection}{made}")


def _cli(base_url: str, command: str) -> str:
    return f"export KEYSTEAD_URL={shlex.quote(base_url)}\n{command}"


def _documents(base_url: str, collection: str) -> str:
    return f"{base_url}/v1/collections/{collection}/documents"


def _text(value: str) -> str:
    """A string of Python and of JavaScript alike."""
    return json.dumps(value)


def _json(body: object) -> str:
    return json.dumps(body)
