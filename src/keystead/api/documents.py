"""Routes of documents: put, get, list, search, delete, and push in batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from typing_extensions import override

from keystead.api.bodies import Batch, NewDocument
from keystead.api.collections import CollectionName
from keystead.api.route import (
    Call,
    CurrentCall,
    Cursor,
    Limit,
    WorkspaceRoute,
    needs,
    next_cursor,
    page_of,
    set_etag,
)
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

MAX_BATCH_VALUES = 100_000


class DocumentRoute(WorkspaceRoute):
    """A route of documents; `name` in its path is a collection's name, `id` a document's id."""

    @override
    def find_version(self, call: Call, path: Mapping[str, str]) -> int | None:
        documents = call.services.documents
        if "id" not in path:
            documents.require(call.principal, path["name"])
            return None
        version = documents.version(call.principal, path["name"], path["id"])
        # Only PUT may name a document that does not exist yet.
        if version is None and "PUT" not in (self.methods or ()):
            raise NotFound("There is no such document.")
        return version


_Id = Annotated[
    str,
    Path(
        description="The document's id.",
        examples=["passwords"],
        json_schema_extra={"pattern": f"^{ID_PATTERN}$"},
    ),
]

router = APIRouter(
    prefix="/v1/collections/{name}/documents", tags=["documents"], route_class=DocumentRoute
)


@router.get("", summary="List or search documents", **needs(DOCUMENTS_READ, InvalidCursor))
def documents_list(
    call: CurrentCall,
    name: CollectionName,
    query: Annotated[
        str | None,
        Query(
            description="1-10 words that must all occur in the document; the last may be the start of a word."
        ),
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> DocumentList | SearchResults:
    """Return all documents, newest first. With `query`: the best of the newest 1,000 matches, with snippets."""
    if query is not None:
        return _search(call, name, query, limit, cursor)
    page, documents = page_of(call, int, limit, cursor), call.services.documents
    rows = documents.list(call.principal, name, limit=page.limit, before=page.after)
    return DocumentList(
        items=list(map(DocumentSummary.of, rows.items)),
        next_cursor=next_cursor(page, rows.next),
    )


def _search(
    call: Call, name: str, query: str, limit: str | None, cursor: str | None
) -> SearchResults:
    page = page_of(call, str, limit, cursor, query=query)
    after = None if page.after is None else SearchPosition.parse(page.after)
    found = call.services.documents.search(
        call.principal, name, query, limit=page.limit, after=after
    )
    position = None if found.next is None else str(found.next)
    return SearchResults(
        items=list(map(DocumentHit.of, found.items)),
        next_cursor=next_cursor(page, position),
        total=found.total,
        total_exact=found.total_exact,
    )


@router.get("/{id}", summary="Get a document", **needs(DOCUMENTS_READ, has_etag=True))
def documents_get(call: CurrentCall, name: CollectionName, id: _Id, response: Response) -> Document:
    """Return a document with its text."""
    document = call.services.documents.get(call.principal, name, id)
    set_etag(response, document.version)
    return Document.of(document)


@router.put(
    "/{id}",
    summary="Put a document",
    responses={201: {"model": Document, "description": "Created."}},
    **needs(DOCUMENTS_WRITE, LimitReached, max_body=DOCUMENT_LIMIT, if_match=True, has_etag=True),
)
def documents_put(
    call: CurrentCall, name: CollectionName, id: _Id, body: NewDocument, response: Response
) -> Document:
    """Create the document (201), or replace its whole content (200)."""
    put = call.services.documents.put(
        call.principal, name, body.draft(id), call.origin, call.if_match
    )
    set_etag(response, put.document.version)
    if put.created:
        response.status_code = 201
        response.headers["location"] = call.path
    return Document.of(put.document)


@router.delete(
    "/{id}", summary="Delete a document", status_code=204, **needs(DOCUMENTS_WRITE, if_match=True)
)
def documents_delete(call: CurrentCall, name: CollectionName, id: _Id) -> None:
    """Delete the document. This can't be undone."""
    call.services.documents.delete(call.principal, name, id, call.origin, call.if_match)


@router.post(
    "/batch",
    summary="Push a batch of documents",
    **needs(DOCUMENTS_WRITE, LimitReached, max_body=MAX_BODY, max_values=MAX_BATCH_VALUES),
)
def documents_push(call: CurrentCall, name: CollectionName, body: Batch) -> PushReport:
    """Put and delete up to 1,000 documents, all or nothing. Repeating a push changes nothing."""
    return PushReport.of(
        call.services.documents.push(call.principal, name, body.push(), call.origin)
    )
