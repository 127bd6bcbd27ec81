"""The calls of the API: how each request is made, and what its answer means. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from keystead.client.exchange import Call, Request
from keystead.client.results import Actor, Document, Key, Page, PushReport, Whoami
from keystead.domain.documents import DocumentDraft
from keystead.domain.instants import parse_instant

T = TypeVar("T")


def whoami() -> Call[Whoami]:
    """Whose key this is."""
    return Call(Request("GET", "/v1/whoami"), _whoami)


def create_collection(name: str, title: str | None = None) -> Call[None]:
    """Makes a collection. Problem `name-taken` where there is one of that name."""
    body = {"name": name} | ({} if title is None else {"title": title})
    request = Request("POST", "/v1/collections", body=encode(body), repeatable=False)
    return Call(request, _nothing)


def push(
    name: str, upsert: Sequence[DocumentDraft], delete: Sequence[str] = ()
) -> Call[PushReport]:
    """Pushes a batch, all or nothing."""
    documents = b",".join(map(document_body, upsert))
    body = b'{"upsert":[' + documents + b'],"delete":' + encode(list(delete)) + b"}"
    return Call(Request("POST", f"{_documents(name)}/batch", body=body), _push_report)


def document_body(draft: DocumentDraft) -> bytes:
    """One document of a batch, as it is sent."""
    members = {"id": draft.id, "text": draft.text, "title": draft.title, "url": draft.url}
    return encode(members | {"attributes": dict(draft.attributes)})


def search(name: str, query: str, limit: int) -> Call[Page[Document]]:
    """The best `limit` documents for the words of `query`."""
    asked = {"query": query, "limit": str(limit)}
    return Call(Request("GET", _documents(name), asked), _page(_document))


def list_documents(name: str, cursor: str | None = None) -> Call[Page[Document]]:
    """One page of a collection's documents, newest first."""
    asked = {"limit": "200"} | ({} if cursor is None else {"cursor": cursor})
    return Call(Request("GET", _documents(name), asked), _page(_document))


def encode(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _documents(name: str) -> str:
    return f"/v1/collections/{quote(name, safe='')}/documents"


def _nothing(_: Any) -> None:
    return None


def _push_report(payload: Mapping[str, Any]) -> PushReport:
    names = ("created", "updated", "unchanged", "deleted")
    return PushReport(*(int(payload[name]) for name in names))


def _page(read: Callable[[Any], T]) -> Callable[[Any], Page[T]]:
    return lambda payload: Page([read(i) for i in payload["items"]], payload["next_cursor"])


def _whoami(payload: Mapping[str, Any]) -> Whoami:
    of = payload["workspace"]
    return Whoami(of["id"], of["name"], of["plan"], _key(payload["key"]))


def _key(payload: Mapping[str, Any]) -> Key:
    return Key(
        id=payload["id"],
        description=payload["description"],
        hint=payload["hint"],
        scopes=tuple(payload["scopes"]),
        status=payload["status"],
        created_at=parse_instant(payload["created_at"]),
        created_by=Actor(**payload["created_by"]),
        expires_at=_instant(payload["expires_at"]),
        last_used_at=_instant(payload["last_used_at"]),
        last_used_ip=payload["last_used_ip"],
        last_used_agent=payload["last_used_agent"],
        revoked_at=_instant(payload["revoked_at"]),
        rotated_to=payload["rotated_to"],
    )


def _document(payload: Mapping[str, Any]) -> Document:
    return Document(
        id=payload["id"],
        title=payload["title"],
        url=payload["url"],
        attributes=payload["attributes"],
        created_at=parse_instant(payload["created_at"]),
        updated_at=parse_instant(payload["updated_at"]),
        text=payload.get("text"),
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else parse_instant(text)
