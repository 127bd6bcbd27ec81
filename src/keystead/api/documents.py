"""Documents of a collection: put, get, list, search, delete, and push in batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from keystead.api.bodies import Batch, NewDocument
from keystead.api.collections import CollectionName
from keystead.api.listing import Cursor, Limit, next_cursor, page_of
from keystead.api.route import Call, CurrentCall, WorkspaceRoute, needs, tag
from keystead.domain.documents import ID_PATTERN
from keystead.domain.errors import InvalidCursor, LimitReached, NotFound
from keystead.domain.scopes import DOCUMENTS_READ, DOCUMENTS_WRITE
from keystead.http.body import DOCUMENT_LIMIT, MAX_BODY
from keystead.wire.resources import Document, DocumentList, DocumentSummary, PushReport

MAX_BATCH_VALUES = 100_000


class DocumentRoute(WorkspaceRoute):
    """A route about documents: `name` in its path is a collection's, `id` a document's."""

    def find(self, call: Call, named: Mapping[str, str]) -> int | None:
        """Return the document's version; without a document only PUT goes on."""
        documents = call.services.documents
        if "id" not in named:
            documents.require(call.principal, named["name"])
            return None
        version = documents.version(call.principal, named["name"], named["id"])
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


@router.get(
    "",
    operation_id="documents_list",
    summary="List or search documents",
    **needs(DOCUMENTS_READ, InvalidCursor),
)
def list_documents(
    call: CurrentCall,
    name: CollectionName,
    query: Annotated[
        str | None,
        Query(
            description="1-10 words that all occur in the document, the last one as a beginning."
        ),
    ] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> DocumentList:
    """Without `query`: all documents, newest first. With it: the best matches, best first, without a next page."""
    page = page_of(call, int, limit, cursor, query=query)
    documents = call.services.documents
    if query is not None:
        best = documents.search(call.principal, name, query, limit=page.limit)
        return DocumentList(items=[DocumentSummary.of(each) for each in best], next_cursor=None)
    found = documents.list(call.principal, name, limit=page.limit, before=page.after)
    return DocumentList(
        items=[DocumentSummary.of(each) for each in found.items],
        next_cursor=next_cursor(page, found.next),
    )


@router.get(
    "/{id}",
    operation_id="documents_get",
    summary="See a document",
    **needs(DOCUMENTS_READ, tagged=True),
)
def get_document(call: CurrentCall, name: CollectionName, id: _Id, response: Response) -> Document:
    """One document, with its text."""
    document = call.services.documents.get(call.principal, name, id)
    tag(response, document.version)
    return Document.whole(document)


@router.put(
    "/{id}",
    operation_id="documents_put",
    summary="Put a document",
    responses={201: {"model": Document, "description": "It was not there before."}},
    **needs(DOCUMENTS_WRITE, LimitReached, max_body=DOCUMENT_LIMIT, if_match=True, tagged=True),
)
def put_document(
    call: CurrentCall, name: CollectionName, id: _Id, body: NewDocument, response: Response
) -> Document:
    """Makes the document what is sent, the whole of it: 201 if it is new, 200 if it replaced one."""
    put = call.services.documents.put(
        call.principal, name, body.draft(id), call.origin, call.if_match
    )
    tag(response, put.document.version)
    if put.created:
        response.status_code = 201
        response.headers["location"] = call.path
    return Document.whole(put.document)


@router.delete(
    "/{id}",
    operation_id="documents_delete",
    summary="Delete a document",
    status_code=204,
    **needs(DOCUMENTS_WRITE, if_match=True),
)
def delete_document(call: CurrentCall, name: CollectionName, id: _Id) -> None:
    """Deletes the document, for good."""
    call.services.documents.delete(call.principal, name, id, call.origin, call.if_match)


@router.post(
    "/batch",
    operation_id="documents_push",
    summary="Push a batch of documents",
    **needs(DOCUMENTS_WRITE, LimitReached, max_body=MAX_BODY, max_values=MAX_BATCH_VALUES),
)
def push_documents(call: CurrentCall, name: CollectionName, body: Batch) -> PushReport:
    """Puts and deletes up to 1,000 documents, all or nothing. The same push again finds everything `unchanged`."""
    return PushReport.of(
        call.services.documents.push(call.principal, name, body.push(), call.origin)
    )
