"""Calls of collections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from keystead.api.bodies.documents import CollectionChange, NewCollection
from keystead.api.calls import Call, page_of
from keystead.api.operations import PAGED, Operations, Reply, in_path, in_query
from keystead.domain.documents import CollectionId
from keystead.domain.errors import CollectionNotEmpty, InvalidCursor, LimitReached, NameTaken
from keystead.domain.scopes import COLLECTIONS_READ, COLLECTIONS_WRITE
from keystead.wire.resources import Collection, CollectionList

NAME: Final = in_path("name", "The collection's name.", "handbook")


def _version(call: Call, path: Mapping[str, str]) -> int:
    return call.services.documents.require(call.principal, path["name"]).version


COLLECTIONS: Final = Operations(
    "/v1/collections", "collections", path_parameters=(NAME,), find_version=_version
)


@COLLECTIONS.call(
    "POST",
    "",
    "Create a collection",
    COLLECTIONS_WRITE,
    statuses=(201,),
    refusals=(NameTaken, LimitReached),
    has_etag=True,
)
def create_collection(call: Call, body: NewCollection) -> Reply[Collection]:
    """Create an empty collection."""
    collection = call.services.documents.create_collection(
        call.principal, body.draft(), call.origin
    )
    location = f"/v1/collections/{collection.name}"
    return Reply(Collection.of(collection), collection.version, location)


@COLLECTIONS.call(
    "GET", "", "List collections", COLLECTIONS_READ, refusals=(InvalidCursor,), query=PAGED
)
def list_collections(
    call: Call, limit: str | None = None, cursor: str | None = None
) -> Reply[CollectionList]:
    """Return the workspace's collections, newest first."""
    page = page_of(call, str, limit, cursor)
    before = None if page.after is None else CollectionId(page.after)
    rows = call.services.documents.list_collections(call.principal, limit=page.limit, before=before)
    items = [Collection.of(collection) for collection in rows.items]
    return Reply(CollectionList(items=items, next_cursor=page.next_cursor(rows.next)))


@COLLECTIONS.call("GET", "/{name}", "Get a collection", COLLECTIONS_READ, has_etag=True)
def get_collection(call: Call, name: str) -> Reply[Collection]:
    """Return a collection and its number of documents."""
    collection = call.services.documents.get_collection(call.principal, name)
    return Reply(Collection.of(collection), collection.version)


@COLLECTIONS.call(
    "PATCH", "/{name}", "Update a collection", COLLECTIONS_WRITE, if_match=True, has_etag=True
)
def update_collection(call: Call, name: str, body: CollectionChange) -> Reply[Collection]:
    """Change the collection's title. Its name is permanent."""
    collection = call.services.documents.update_collection(
        call.principal, name, body.patch(), call.origin, call.if_match
    )
    return Reply(Collection.of(collection), collection.version)


@COLLECTIONS.call(
    "DELETE",
    "/{name}",
    "Delete a collection",
    COLLECTIONS_WRITE,
    statuses=(204,),
    refusals=(CollectionNotEmpty,),
    query=(
        in_query(
            "documents",
            "`delete`: its documents too. Omitted: the collection must be empty.",
            Literal["delete"],
        ),
    ),
    if_match=True,
    slow_with="documents",
)
def delete_collection(
    call: Call, name: str, documents: Literal["delete"] | None = None
) -> Reply[None]:
    """Delete the collection. This can't be undone."""
    call.services.documents.delete_collection(
        call.principal,
        name,
        with_documents=documents == "delete",
        origin=call.origin,
        if_match=call.if_match,
    )
    return Reply(None)
