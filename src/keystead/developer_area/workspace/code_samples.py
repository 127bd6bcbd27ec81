"""Code on the pages: calls of this server in several languages, which work as they stand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keystead.developer_area.workspace.contexts import CodeTab
from keystead.domain.product import Product
from keystead.wire.code_samples import SampleCall, python_calls

_JSON: Final = '-H "Content-Type: application/json"'
_DOCUMENT: Final = {"id": "hello", "title": "Hello", "text": "Hello from our first document."}
_WORD: Final = "hello"


@dataclass(frozen=True, slots=True)
class CodeSamples:
    """The code of a product's pages. One with a name of its own shows neither our SDK nor our command line."""

    base_url: str
    product: Product

    @property
    def whoami(self) -> str:
        """Return the curl command that asks whose key it is."""
        return f"curl {self._bearer} {shlex.quote(self._whoami)}"

    def key(self, token: str) -> Sequence[CodeTab]:
        """Return a new key alone, as a line of a `.env` file, and in calls. Code in a repository has no token."""
        curl = f'curl -H "Authorization: Bearer {token}" {shlex.quote(self._whoami)}'
        call = SampleCall("GET", self._whoami)
        python = self._python("    print(client.whoami())", "Client", call)
        return [
            CodeTab("token", "Key", token),
            CodeTab("env", ".env", f"{self.product.variable}={token}"),
            CodeTab("curl", "curl", curl),
            CodeTab("python", "Python", python),
            CodeTab("javascript", "JavaScript", self._javascript(call)),
        ]

    def push(self, collection: str, *, create: bool = False) -> Sequence[CodeTab]:
        """Return how to push a document to a collection. `create`: the code creates it first."""
        batch = SampleCall("POST", f"{self._documents(collection)}/batch", {"upsert": [_DOCUMENT]})
        creating = SampleCall("POST", f"{self.base_url}/v1/collections", {"name": collection})
        calls = [creating, batch] if create else [batch]
        name = _text(collection)
        fields = ", ".join(f"{field}={_text(value)}" for field, value in _DOCUMENT.items())
        body = f"    client.collections.create({name})\n" if create else ""
        body += (
            f"    print(client.documents.push({name}, [\n        DocumentDraft({fields}),\n    ]))"
        )
        option = " --create-collection" if create else ""
        return self._tabs(
            "\n".join(map(self._curl_post, calls)),
            self._python(body, "Client, DocumentDraft", *calls),
            self._javascript(*calls),
            f"keystead documents push ./docs --collection {collection}{option}",
        )

    def search(self, collection: str) -> Sequence[CodeTab]:
        """Return how to search the documents of a collection."""
        call = SampleCall("GET", f"{self._documents(collection)}?query={_WORD}")
        results = f"client.documents.search({_text(collection)}, {_text(_WORD)}).items"
        body = f"    for document in {results}:\n        print(document.id, document.title)"
        return self._tabs(
            f"curl {self._bearer} \\\n  {shlex.quote(call.url)}",
            self._python(body, "Client", call),
            self._javascript(call),
            f"keystead documents search {_WORD} --collection {collection}",
        )

    def _tabs(self, curl: str, python: str, javascript: str, command: str) -> Sequence[CodeTab]:
        tabs = [
            CodeTab("curl", "curl", curl),
            CodeTab("python", "Python", python),
            CodeTab("javascript", "JavaScript", javascript),
        ]
        if not self.product.is_named:
            server = f"export KEYSTEAD_URL={shlex.quote(self.base_url)}"
            tabs.append(CodeTab("cli", "CLI", f"{server}\n{command}"))
        return tabs

    @property
    def _whoami(self) -> str:
        return f"{self.base_url}/v1/whoami"

    @property
    def _bearer(self) -> str:
        return f'-H "Authorization: Bearer ${self.product.variable}"'

    def _documents(self, collection: str) -> str:
        return f"{self.base_url}/v1/collections/{collection}/documents"

    def _curl_post(self, call: SampleCall) -> str:
        url, body = shlex.quote(call.url), shlex.quote(json.dumps(call.body))
        return f"curl {url} \\\n  {self._bearer} \\\n  {_JSON} \\\n  -d {body}"

    def _python(self, body: str, names: str, *calls: SampleCall) -> str:
        """Return the calls with our SDK, as `body` has them, or with the standard library alone."""
        variable = self.product.variable
        if self.product.is_named:
            return python_calls(variable, *calls)
        head = f"import os\n\nfrom keystead.client import {names}\n\n"
        client = f"Client({_text(self.base_url)}, os.environ[{_text(variable)}])"
        return f"{head}with {client} as client:\n{body}"

    def _javascript(self, *calls: SampleCall) -> str:
        head = (
            "const headers = {\n"
            f'  "Authorization": `Bearer ${{process.env.{self.product.variable}}}`,\n'
            '  "Content-Type": "application/json",\n};\n'
        )
        fetches = (f"console.log(await (await {_fetch(call)}).json());\n" for call in calls)
        return (head + "".join(fetches)).rstrip()


def _fetch(call: SampleCall) -> str:
    if call.body is None:
        return f"fetch({_text(call.url)}, {{ headers }})"
    body = f"JSON.stringify({json.dumps(call.body)})"
    return (
        f'fetch({_text(call.url)}, {{\n  method: "{call.method}",\n  headers,\n  body: {body},\n}})'
    )


def _text(value: str) -> str:
    """Return a string literal, the same in Python and JavaScript."""
    return json.dumps(value)
