"""Pushing a folder with both kinds of client: what is sent, what is reported, and what is never deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from keystead.client import FolderPush, InvalidValue, LimitReached, NotFound
from tests.support.sdk_clients import KINDS, opened
from tests.support.stub_server import TOKEN

URL = "https://keys.example.com"
both_kinds = pytest.mark.parametrize("kind", KINDS)


class Store:
    """A server with one collection, which refuses some documents and batches."""

    def __init__(self, *present: str, exists: bool = True, most: int = 1_000) -> None:
        self.documents = dict.fromkeys(present, "")
        self.exists, self.most, self.calls = exists, most, list[str]()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request of httpx2."""
        self.calls.append(f"{request.method} {request.url.path}")
        if request.url.path == "/v1/collections":
            self.exists = True
            times = dict.fromkeys(("created_at", "updated_at"), "2026-11-23T00:00:00Z")
            members = {"name": "docs", "title": "docs", "documents": 0, **times}
            return httpx2.Response(201, json=members)
        if not self.exists:
            return problem(404, "not-found")
        return self._list() if request.method == "GET" else self._push(json.loads(request.content))

    def _list(self) -> httpx2.Response:
        times = dict.fromkeys(("created_at", "updated_at"), "2026-11-23T00:00:00Z")
        more: dict[str, Any] = {"title": "", "url": None, "attributes": {}, **times}
        items = [{"id": id, **more} for id in self.documents]
        return httpx2.Response(200, json={"items": items, "next_cursor": None})

    def _push(self, body: dict[str, Any]) -> httpx2.Response:
        pushed, deleted = body.get("upsert", []), body.get("delete", [])
        if len(pushed) > self.most:
            return httpx2.Response(413, content=b"<html>")
        bad = [n for n, document in enumerate(pushed) if document["text"] == "bad"]
        if bad:
            errors = [{"pointer": f"/upsert/{n}/text", "detail": "is bad"} for n in bad]
            return problem(422, "invalid", errors=errors)
        if any(document["text"] == "full" for document in pushed):
            return problem(409, "limit-reached", limit=1)
        created = [document for document in pushed if document["id"] not in self.documents]
        unchanged = len(pushed) - len(created)
        self.documents |= {document["id"]: document["text"] for document in pushed}
        for id in deleted:
            del self.documents[id]
        counts = {"created": len(created), "updated": 0, "unchanged": unchanged}
        return httpx2.Response(200, json={**counts, "deleted": len(deleted)})


def problem(status: int, code: str, **more: object) -> httpx2.Response:
    """Return a refusal."""
    members = {"title": "No", "status": status, "detail": "It is so.", "code": code} | more
    return httpx2.Response(
        status, json=members, headers={"content-type": "application/problem+json"}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a folder of text files."""

    def write(**texts: str) -> Path:
        for name, text in texts.items():
            (tmp_path / f"{name}.txt").write_text(text)
        return tmp_path

    return write


def push(kind: type[Any], store: Store, folder: Any, **options: Any) -> Any:
    """Push a folder to the store with a client of that kind."""
    with opened(kind, URL, TOKEN, transport=httpx2.MockTransport(store)) as client:
        return client.documents.push_folder("docs", folder, **options)


@both_kinds
def test_a_folder_is_pushed(kind: type[Any], folder: Callable[..., Path]) -> None:
    """The collection is created on request only; the report counts, and lists what could not be pushed."""
    files, store, seen = folder(a="one", b="bad", c="two"), Store(exists=False), list[Any]()
    with pytest.raises(NotFound):
        push(kind, store, files)
    chosen = FolderPush(files, on_refused=seen.append)
    report = push(kind, store, chosen, create=True)
    assert (report.created, report.pushed, set(store.documents)) == (2, 2, {"a.txt", "c.txt"})
    assert [(Path(each.source).name, each.detail) for each in seen] == [("b.txt", "text is bad")]
    assert seen == report.refused
    assert push(kind, store, str(files / "a.txt")).unchanged == 1


@both_kinds
def test_an_interrupted_push_is_repeated(kind: type[Any], folder: Callable[..., Path]) -> None:
    """All files are sent then, and the report is of that push alone."""
    store, chosen = Store(exists=False), FolderPush(folder(a="one", b="two", c="bad"))
    with pytest.raises(NotFound):
        push(kind, store, chosen)
    for created in (2, 0):
        report = push(kind, store, chosen, create=True)
        assert (report.created, report.pushed, len(report.refused)) == (created, 2, 1)
    assert (set(store.documents), chosen.is_sent) == ({"a.txt", "b.txt"}, True)


@both_kinds
def test_a_narrow_proxy_gets_smaller_batches(kind: type[Any], folder: Callable[..., Path]) -> None:
    """Halves are sent in order, down to what fits."""
    store = Store(most=1)
    report = push(kind, store, folder(**{f"f{number}": "x" for number in range(5)}))
    assert (report.created, list(store.documents)) == (5, [f"f{n}.txt" for n in range(5)])


@both_kinds
def test_missing_documents_go_only_after_a_whole_push(
    kind: type[Any], folder: Callable[..., Path]
) -> None:
    """Not for a file, not if something was refused, and not for an empty folder."""
    store = Store("old", "older")
    files = folder(a="one")
    with pytest.raises(InvalidValue, match="takes folders only"):
        push(kind, store, files / "a.txt", delete_missing=True)
    assert store.calls == []
    (files / "empty").mkdir()
    assert push(kind, store, files / "empty", delete_missing=True).deleted == 0
    folder(b="bad")
    assert push(kind, store, files, delete_missing=True).deleted == 0
    (files / "b.txt").unlink()
    assert push(kind, store, files, delete_missing=True).deleted == 2
    assert set(store.documents) == {"a.txt"}


@both_kinds
def test_a_failure_leaves_the_report_so_far(kind: type[Any], folder: Callable[..., Path]) -> None:
    """The caller of a push of their own sees what was done before an error."""
    files = folder(a="full")
    (files / "a.jsonl").write_text(
        "\n".join(json.dumps({"id": str(number), "text": ""}) for number in range(1_000))
    )
    chosen, sizes = FolderPush(files), list[int]()
    with pytest.raises(LimitReached):
        push(kind, Store(), chosen, advance=sizes.append)
    assert (chosen.report.created, chosen.is_sent) == (1_000, False)
    assert sum(sizes) == chosen.size
