"""Documents over the API: the calls, and how both kinds of client offer them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from keystead.client import reading
from keystead.client.connection import AsyncConnection, Connection
from keystead.client.errors import InvalidValue
from keystead.client.exchange import Call, Request, encode, path_of
from keystead.client.results import Document, DocumentSummary, Page, PushReport
from keystead.domain.documents import DocumentDraft

Summaries = Page[DocumentSummary]


def document_body(draft: DocumentDraft) -> bytes:
    """Return one document of a batch as it is sent. InvalidValue names its id."""
    try:
        return encode({"id": draft.id, **_content(draft)})
    except InvalidValue as error:
        raise InvalidValue(f"In the document {ascii(draft.id)[1:-1]}: {error}") from None


def _page(collection: str, limit: int, cursor: str | None) -> Call[Summaries]:
    asked = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
    return _listed(collection, asked)


def _search(collection: str, query: str, limit: int) -> Call[Summaries]:
    return _listed(collection, {"query": query, "limit": str(limit)})


def _listed(collection: str, asked: dict[str, str]) -> Call[Summaries]:
    return Call(Request("GET", _path(collection), asked), reading.page(reading.document_summary))


def _get(collection: str, id: str) -> Call[Document]:
    return Call(Request("GET", _path(collection, id)), reading.document)


def _put(collection: str, draft: DocumentDraft) -> Call[Document]:
    request = Request("PUT", _path(collection, draft.id), body=encode(_content(draft)))
    return Call(request, reading.document)


def _delete(collection: str, id: str) -> Call[None]:
    request = Request("DELETE", _path(collection, id), repeatable=False)
    return Call(request, reading.nothing)


def _push(
    collection: str, upsert: Sequence[DocumentDraft], delete: Sequence[str]
) -> Call[PushReport]:
    documents = b",".join(map(document_body, upsert))
    body = b'{"upsert":[' + documents + b'],"delete":' + encode(list(delete)) + b"}"
    return Call(Request("POST", f"{_path(collection)}/batch", body=body), reading.push_report)


def _content(draft: DocumentDraft) -> dict[str, Any]:
    members = {"text": draft.text, "title": draft.title, "url": draft.url}
    return members | {"attributes": dict(draft.attributes)}


def _path(*names: str) -> str:
    collection, *id = names
    return f"/v1/collections{path_of(collection)}/documents{path_of(*id)}"


class Documents:
    """The documents of collections."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, collection: str) -> Iterator[DocumentSummary]:
        """Every document, newest first, without its text. NotFound."""
        return self._connection.walk(lambda cursor: _page(collection, 200, cursor))

    def page(self, collection: str, *, limit: int = 50, cursor: str | None = None) -> Summaries:
        """One page of documents."""
        return self._connection.run(_page(collection, limit, cursor))

    def search(self, collection: str, query: str, *, limit: int = 50) -> Summaries:
        """The best `limit` documents in which all 1-10 words occur, the last as a beginning; best first, one page."""
        return self._connection.run(_search(collection, query, limit))

    def get(self, collection: str, id: str) -> Document:
        """One document with its text. NotFound."""
        return self._connection.run(_get(collection, id))

    def put(
        self, collection: str, document: DocumentDraft, *, if_match: str | None = None
    ) -> Document:
        """Makes the document what is given, the whole of it. LimitReached, Invalid, TooLarge."""
        return self._connection.run(_put(collection, document).when(if_match))

    def delete(self, collection: str, id: str, *, if_match: str | None = None) -> None:
        """Deletes the document. NotFound."""
        self._connection.run(_delete(collection, id).when(if_match))

    def push(
        self, collection: str, upsert: Sequence[DocumentDraft] = (), delete: Sequence[str] = ()
    ) -> PushReport:
        """Puts and deletes at most 1,000 documents and 10 MiB, all or nothing; the same again changes nothing."""
        return self._connection.run(_push(collection, upsert, delete))


class AsyncDocuments:
    """As Documents, awaited."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    def list(self, collection: str) -> AsyncIterator[DocumentSummary]:
        """As Documents.list."""
        return self._connection.walk(lambda cursor: _page(collection, 200, cursor))

    async def page(
        self, collection: str, *, limit: int = 50, cursor: str | None = None
    ) -> Summaries:
        """As Documents.page."""
        return await self._connection.run(_page(collection, limit, cursor))

    async def search(self, collection: str, query: str, *, limit: int = 50) -> Summaries:
        """As Documents.search."""
        return await self._connection.run(_search(collection, query, limit))

    async def get(self, collection: str, id: str) -> Document:
        """As Documents.get."""
        return await self._connection.run(_get(collection, id))

    async def put(
        self, collection: str, document: DocumentDraft, *, if_match: str | None = None
    ) -> Document:
        """As Documents.put."""
        return await self._connection.run(_put(collection, document).when(if_match))

    async def delete(self, collection: str, id: str, *, if_match: str | None = None) -> None:
        """As Documents.delete."""
        await self._connection.run(_delete(collection, id).when(if_match))

    async def push(
        self, collection: str, upsert: Sequence[DocumentDraft] = (), delete: Sequence[str] = ()
    ) -> PushReport:
        """As Documents.push."""
        return await self._connection.run(_push(collection, upsert, delete))
