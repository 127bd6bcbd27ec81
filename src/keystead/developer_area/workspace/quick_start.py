"""The page of the first three steps: create a key, push a document, find it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in.session import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.labels import plural
from keystead.developer_area.workspace.contexts import CodeTab, QuickStartPage
from keystead.domain.scopes import KEYS_WRITE

_FIRST_COLLECTION: Final = "docs"


class QuickStart(WorkspacePages):
    """The page of the first steps."""

    def index(self, visit: MemberVisit) -> Response:
        """Show the steps, with samples that work here as they are."""
        has_documents = self._services.keys.catalog.has_documents
        base, name = visit.workspace_url, self._newest_collection(visit) if has_documents else None
        keys = self._services.keys.quota(visit.principal).used
        collection = name or _FIRST_COLLECTION
        whoami = shlex.quote(f"{self._base_url}/v1/whoami")
        page = QuickStartPage(
            frame=visit.frame(),
            keys=plural(keys, "active key"),
            has_keys=keys > 0,
            may_create=KEYS_WRITE in set(visit.principal.scopes),
            has_documents=has_documents,
            whoami=f'curl -H "Authorization: Bearer $KEYSTEAD_TOKEN" {whoami}',
            collection=collection,
            is_new=name is None,
            collection_url=f"{base}/collections/{collection}",
            push=push_samples(self._base_url, collection, create=name is None),
            query=search_samples(self._base_url, collection),
        )
        return self._render(page)

    def _newest_collection(self, visit: MemberVisit) -> str | None:
        page = self._services.documents.list_collections(visit.principal, limit=1)
        return page.items[0].name if page.items else None


_BEARER = '-H "Authorization: Bearer $KEYSTEAD_TOKEN"'
_JSON = '-H "Content-Type: application/json"'
_DOCUMENT = {"id": "hello", "title": "Hello", "text": "Hello from our first document."}
_WORD = "hello"


def key_samples(base_url: str, token: str) -> Sequence[CodeTab]:
    """Return a new key alone, as a line of a `.env` file, and in calls. Code in a repository contains no token."""
    url = f"{base_url}/v1/whoami"
    return [
        CodeTab("token", "Key", token),
        CodeTab("env", ".env", f"KEYSTEAD_TOKEN={token}"),
        CodeTab("curl", "curl", f'curl -H "Authorization: Bearer {token}" {shlex.quote(url)}'),
        CodeTab("python", "Python", _python(base_url, "Client", "    print(client.whoami())")),
        CodeTab("javascript", "JavaScript", _javascript(_fetch(url))),
    ]


def push_samples(base_url: str, collection: str, *, create: bool = False) -> Sequence[CodeTab]:
    """Return how to push a document to a collection. `create`: the sample creates it first."""
    return _tabs(
        _push_curl(base_url, collection, create=create),
        _push_python(base_url, collection, create=create),
        _push_javascript(base_url, collection, create=create),
        _push_cli(base_url, collection, create=create),
    )


def search_samples(base_url: str, collection: str) -> Sequence[CodeTab]:
    """Return how to search the documents of a collection."""
    url = f"{_documents(base_url, collection)}?query={_WORD}"
    results = f"client.documents.search({_text(collection)}, {_text(_WORD)}).items"
    python = f"    for document in {results}:\n        print(document.id, document.title)"
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
    create_call = [_curl_post(f"{base_url}/v1/collections", {"name": collection})] if create else []
    push = _curl_post(f"{_documents(base_url, collection)}/batch", {"upsert": [_DOCUMENT]})
    return "\n".join([*create_call, push])


def _curl_post(url: str, body: object) -> str:
    return (
        f"curl {shlex.quote(url)} \\\n  {_BEARER} \\\n  {_JSON} \\\n  -d {shlex.quote(_json(body))}"
    )


def _push_python(base_url: str, collection: str, *, create: bool) -> str:
    name = _text(collection)
    create_call = f"    client.collections.create({name})\n" if create else ""
    fields = ", ".join(f"{field}={_text(value)}" for field, value in _DOCUMENT.items())
    push = f"    print(client.documents.push({name}, [\n        DocumentDraft({fields}),\n    ]))"
    return _python(base_url, "Client, DocumentDraft", create_call + push)


def _python(base_url: str, names: str, body: str) -> str:
    head = f"import os\n\nfrom keystead.client import {names}\n\n"
    token = 'os.environ["KEYSTEAD_TOKEN"]'
    return f"{head}with Client({_text(base_url)}, {token}) as client:\n{body}"


def _push_javascript(base_url: str, collection: str, *, create: bool) -> str:
    create_call = [_fetch(f"{base_url}/v1/collections", {"name": collection})] if create else []
    push = _fetch(f"{_documents(base_url, collection)}/batch", {"upsert": [_DOCUMENT]})
    return _javascript(*create_call, push)


def _javascript(*calls: str) -> str:
    head = (
        "const headers = {\n"
        '  "Authorization": `Bearer ${process.env.KEYSTEAD_TOKEN}`,\n'
        '  "Content-Type": "application/json",\n};\n'
    )
    lines = "".join(f"console.log(await (await {call}).json());\n" for call in calls)
    return (head + lines).rstrip()


def _fetch(url: str, body: object | None = None) -> str:
    if body is None:
        return f"fetch({_text(url)}, {{ headers }})"
    text = f"JSON.stringify({_json(body)})"
    return f'fetch({_text(url)}, {{\n  method: "POST",\n  headers,\n  body: {text},\n}})'


def _push_cli(base_url: str, collection: str, *, create: bool) -> str:
    create_option = " --create-collection" if create else ""
    return _cli(
        base_url, f"keystead documents push ./docs --collection {collection}{create_option}"
    )


def _cli(base_url: str, command: str) -> str:
    return f"export KEYSTEAD_URL={shlex.quote(base_url)}\n{command}"


def _documents(base_url: str, collection: str) -> str:
    return f"{base_url}/v1/collections/{collection}/documents"


def _text(value: str) -> str:
    """Return a string literal, the same in Python and JavaScript."""
    return json.dumps(value)


def _json(body: object) -> str:
    return json.dumps(body)
