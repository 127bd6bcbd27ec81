"""Routes of collections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from typing_extensions import override

from keystead.api.bodies import CollectionChange, NewCollection
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
from keystead.domain.documents import CollectionId
from keystead.domain.errors import CollectionNotEmpty, InvalidCursor, LimitReached, NameTaken
from keystead.domain.scopes import COLLECTIONS_READ, COLLECTIONS_WRITE
from keystead.wire.resources import Collection, CollectionList


class CollectionRoute(WorkspaceRoute):
    """A route of collections; `name` in its path is a collection's name."""

    @override
    def find_version(self, call: Call, path: Mapping[str, str]) -> int | None:
        if "name" not in path:
            return None
        return call.services.documents.require(call.principal, path["name"]).version


CollectionName = Annotated[str, Path(description="The collection's name.", examples=["handbook"])]

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=CollectionRoute)


@router.post(
    "",
    summary="Create a collection",
    status_code=201,
    **needs(COLLECTIONS_WRITE, NameTaken, LimitReached, has_etag=True),
)
def collections_create(call: CurrentCall, body: NewCollection, response: Response) -> Collection:
    """Create an empty collection."""
    collection = call.services.documents.create_collection(
        call.principal, body.draft(), call.origin
    )
    response.headers["location"] = f"/v1/collections/{collection.name}"
    set_etag(response, collection.version)
    return Collection.of(collection)


@router.get("", summary="List collections", **needs(COLLECTIONS_READ, InvalidCursor))
def collections_list(
    call: CurrentCall, limit: Limit = None, cursor: Cursor = None
) -> CollectionList:
    """Return the workspace's collections, newest first."""
    page = page_of(call, str, limit, cursor)
    before = None if page.after is None else CollectionId(page.after)
    rows = call.services.documents.list_collections(call.principal, limit=page.limit, before=before)
    return CollectionList(
        items=[Collection.of(collection) for collection in rows.items],
        next_cursor=next_cursor(page, rows.next),
    )


@router.get("/{name}", summary="Get a collection", **needs(COLLECTIONS_READ, has_etag=True))
def collections_get(call: CurrentCall, name: CollectionName, response: Response) -> Collection:
    """Return a collection and its number of documents."""
    collection = call.services.documents.get_collection(call.principal, name)
    set_etag(response, collection.version)
    return Collection.of(collection)


@router.patch(
    "/{name}",
    summary="Update a collection",
    **needs(COLLECTIONS_WRITE, if_match=True, has_etag=True),
)
def collections_update(
    call: CurrentCall, name: CollectionName, body: CollectionChange, response: Response
) -> Collection:
    """Change the collection's title. Its name is permanent."""
    collection = call.services.documents.update_collection(
        call.principal, name, body.patch(), call.origin, call.if_match
    )
    set_etag(response, collection.version)
    return Collection.of(collection)


@router.delete(
    "/{name}",
    summary="Delete a collection",
    status_code=204,
    **needs(COLLECTIONS_WRITE, CollectionNotEmpty, if_match=True),
)
def collections_delete(
    call: CurrentCall,
    name: CollectionName,
    documents: Annotated[
        Literal["delete"] | None,
        Query(description="`delete`: its documents too. Omitted: the collection must be empty."),
    ] = None,
) -> None:
    """Delete the collection. This can't be undone."""
    call.services.documents.delete_collection(
        call.principal,
        name,
        with_documents=documents == "delete",
        origin=call.origin,
        if_match=call.if_match,
    )
