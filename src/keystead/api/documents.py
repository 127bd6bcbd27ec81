"""Calls of documents: put, get, list, search, delete, and push in batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keystead.api.bodies.documents import Batch, NewDocument
from keystead.api.calls import Call, page_of
from keystead.api.collections import NAME
from keystead.api.operations import PAGED, Operations, Reply, in_path, in_query
from keystead.domain.documents import ID_PATTERN
from keystead.domain.errors import InvalidCursor, LimitReached, NotFound
from keystead.domain.scopes import DOCUMENTS_READ, DOCUMENTS_WRITE
from keystead.domain.search import SearchPosition
from keystead.http.body import DOCUMENT_LIMIT, MAX_BODY
from keystead.wire.resources import (
    Document,
    DocumentHit,
    DocumentList,
    DocumentSummary,
    PushReport,
    SearchResults,
)

MAX_BATCH_VALUES: Final = 100_000


def _put_version(call: Call, path: Mapping[str, str]) -> int | None:
    """Return the version of a document that PUT may also create."""
    return call.services.documents.version(call.principal, path["name"], path["id"])


def _version(call: Call, path: Mapping[str, str]) -> int | None:
    if "id" not in path:
        call.services.documents.require(call.principal, path["name"])
        return None
    version = _put_version(call, path)
    if version is None:
        raise NotFound("There is no such document.")
    return version


DOCUMENTS: Final = Operations(
    "/v1/collections/{name}/documents",
    "documents",
    path_parameters=(
        NAME,
        in_path("id", "The document's id.", "passwords", {"pattern": f"^{ID_PATTERN}$"}),
    ),
    find_version=_version,
)


@DOCUMENTS.call(
    "GET",
    "",
    "List or search documents",
    DOCUMENTS_READ,
    refusals=(InvalidCursor,),
    query=(
        in_query(
            "query",
            "1-10 words that must all occur in the document; the last may be the start of a word.",
        ),
        *PAGED,
    ),
)
def list_documents(
    call: Call,
    name: str,
    query: str | None = None,
    limit: str | None = None,
    cursor: str | None = None,
) -> Reply[SearchResults | DocumentList]:
    """Return all documents, newest first. With `query`: the best of the newest 1,000 matches, with snippets."""
    if query is not None:
        return Reply(_search(call, name, query, limit, cursor))
    page, documents = page_of(call, int, limit, cursor), call.services.documents
    rows = documents.list(call.principal, name, limit=page.limit, before=page.after)
    items = list(map(DocumentSummary.of, rows.items))
    return Reply(DocumentList(items=items, next_cursor=page.next_cursor(rows.next)))


def _search(
    call: Call, name: str, query: str, limit: str | None, cursor: str | None
) -> SearchResults:
    page = page_of(call, str, limit, cursor, query=query)
    after = None if page.after is None else SearchPosition.parse(page.after)
    found = call.services.documents.search(
        call.principal, name, query, limit=page.limit, after=after, at_once=call.at_once
    )
    position = None if found.next is None else str(found.next)
    return SearchResults(
        items=list(map(DocumentHit.found, found.items)),
        next_cursor=page.next_cursor(position),
        total=found.total,
        total_exact=found.total_exact,
    )


@DOCUMENTS.call("GET", "/{id}", "Get a document", DOCUMENTS_READ, has_etag=True)
def get_document(call: Call, name: str, id: str) -> Reply[Document]:
    """Return a document with its text."""
    document = call.services.documents.get(call.principal, name, id)
    return Reply(Document.whole(document), document.version)


@DOCUMENTS.call(
    "PUT",
    "/{id}",
    "Put a document",
    DOCUMENTS_WRITE,
    statuses=(200, 201),
    refusals=(LimitReached,),
    max_body=DOCUMENT_LIMIT,
    if_match=True,
    has_etag=True,
    find_version=_put_version,
)
def put_document(call: Call, name: str, id: str, body: NewDocument) -> Reply[Document]:
    """Create the document (201), or replace its whole content (200)."""
    put = call.services.documents.put(
        call.principal, name, body.draft(id), call.origin, call.if_match
    )
    shape, version = Document.whole(put.document), put.document.version
    return Reply(shape, version, call.path, 201) if put.created else Reply(shape, version)


@DOCUMENTS.call(
    "DELETE", "/{id}", "Delete a document", DOCUMENTS_WRITE, statuses=(204,), if_match=True
)
def delete_document(call: Call, name: str, id: str) -> Reply[None]:
    """Delete the document. This can't be undone."""
    call.services.documents.delete(call.principal, name, id, call.origin, call.if_match)
    return Reply(None)


@DOCUMENTS.call(
    "POST",
    "/batch",
    "Push a batch of documents",
    DOCUMENTS_WRITE,
    refusals=(LimitReached,),
    max_body=MAX_BODY,
    max_values=MAX_BATCH_VALUES,
)
def push_documents(call: Call, name: str, body: Batch) -> Reply[PushReport]:
    """Put and delete up to 1,000 documents, all or nothing. Repeating a push changes nothing."""
    report = call.services.documents.push(call.principal, name, body.push(), call.origin)
    return Reply(PushReport.of(report))
