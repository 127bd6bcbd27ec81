# Generated from client/_sync/documents.py by `make async-client`; do not edit.
"""The calls about collections and their documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import NoneType
from typing import Final

from keystead.client._async.sending import AsyncResource
from keystead.client.requests import (
    PAGE_SIZE,
    Request,
    batch_body,
    document_members,
    json_body,
    path_of,
)
from keystead.client.results import (
    Collection,
    Document,
    DocumentSummary,
    Page,
    PushReport,
    SearchPage,
)
from keystead.domain.documents import DocumentDraft
from keystead.domain.keys import UNSET

PATH: Final = "/v1/collections"


class AsyncCollections(AsyncResource):
    """The collections of the workspace."""

    def list(self) -> AsyncIterator[Collection]:
        """Yield every collection, newest first."""
        request = Request("GET", PATH, {"limit": str(PAGE_SIZE)})
        return self._connection.paginate(request, Page[Collection])

    async def page(self, *, limit: int = 50, cursor: str | None = None) -> Page[Collection]:
        """Return a page of collections."""
        request = Request("GET", PATH, {"limit": str(limit), "cursor": cursor})
        return await self._connection.send(request, Page[Collection])

    async def get(self, name: str) -> Collection:
        """Return a collection. Raises NotFound."""
        return await self._connection.send(Request("GET", path_of(PATH, name)), Collection)

    async def create(self, name: str, title: str | None = None) -> Collection:
        """Create a collection; its title is its name by default. Raises NameTaken, LimitReached, Invalid."""
        body = json_body(name=name, title=UNSET if title is None else title)
        request = Request("POST", PATH, body=body, repeatable=False)
        return await self._connection.send(request, Collection)

    async def update(self, name: str, *, title: str, if_match: str | None = None) -> Collection:
        """Change the title of a collection."""
        body = json_body(title=title)
        request = Request("PATCH", path_of(PATH, name), body=body, if_match=if_match)
        return await self._connection.send(request, Collection)

    async def delete(
        self, name: str, *, documents: bool = False, if_match: str | None = None
    ) -> None:
        """Delete a collection. Raises CollectionNotEmpty if it has documents, unless `documents` is true."""
        query = {"documents": "delete" if documents else None}
        path = path_of(PATH, name)
        request = Request("DELETE", path, query, if_match=if_match, repeatable=False)
        await self._connection.send(request, NoneType)


class AsyncDocuments(AsyncResource):
    """The documents of collections."""

    def list(self, collection: str) -> AsyncIterator[DocumentSummary]:
        """Yield every document without its text, newest first. Raises NotFound."""
        request = Request("GET", _path(collection), {"limit": str(PAGE_SIZE)})
        return self._connection.paginate(request, Page[DocumentSummary])

    async def page(
        self, collection: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page[DocumentSummary]:
        """Return a page of documents."""
        request = Request("GET", _path(collection), {"limit": str(limit), "cursor": cursor})
        return await self._connection.send(request, Page[DocumentSummary])

    async def search(
        self, collection: str, query: str, *, limit: int = 50, cursor: str | None = None
    ) -> SearchPage:
        """Return a page of the matches of 1-10 words, best first. The last word may be a prefix."""
        values = {"query": query, "limit": str(limit), "cursor": cursor}
        return await self._connection.send(Request("GET", _path(collection), values), SearchPage)

    async def get(self, collection: str, id: str) -> Document:
        """Return a document with its text. Raises NotFound."""
        return await self._connection.send(Request("GET", path_of(_path(collection), id)), Document)

    async def put(
        self, collection: str, document: DocumentDraft, *, if_match: str | None = None
    ) -> Document:
        """Create a document, or replace the one with its id. Raises LimitReached, Invalid, TooLarge."""
        path = path_of(_path(collection), document.id)
        body = json_body(**document_members(document))
        return await self._connection.send(
            Request("PUT", path, body=body, if_match=if_match), Document
        )

    async def delete(self, collection: str, id: str, *, if_match: str | None = None) -> None:
        """Delete a document. Raises NotFound."""
        path = path_of(_path(collection), id)
        request = Request("DELETE", path, if_match=if_match, repeatable=False)
        await self._connection.send(request, NoneType)

    async def push(
        self, collection: str, upsert: Sequence[DocumentDraft] = (), delete: Sequence[str] = ()
    ) -> PushReport:
        """Put and delete at most 1,000 documents and 10 MiB, all or nothing. Repeating a push changes nothing."""
        body = batch_body(upsert, delete)
        return await self._connection.send(
            Request("POST", f"{_path(collection)}/batch", body=body), PushReport
        )


def _path(collection: str) -> str:
    return f"{path_of(PATH, collection)}/documents"
