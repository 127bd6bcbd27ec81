"""Collections of documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from keystead.api.bodies import CollectionChange, NewCollection
from keystead.api.listing import Cursor, Limit, next_cursor, page_of
from keystead.api.route import Call, CurrentCall, WorkspaceRoute, needs, tag
from keystead.domain.documents import CollectionId
from keystead.domain.errors import CollectionNotEmpty, InvalidCursor, LimitReached, NameTaken
from keystead.domain.scopes import COLLECTIONS_READ, COLLECTIONS_WRITE
from keystead.wire.resources import Collection, CollectionList


class CollectionRoute(WorkspaceRoute):
    """A route about collections: `name` in its path is a collection's."""

    def find(self, call: Call, named: Mapping[str, str]) -> int | None:
        """Return the collection's version."""
        if "name" not in named:
            return None
        return call.services.documents.require(call.principal, named["name"]).version


CollectionName = Annotated[str, Path(description="The collection's name.", examples=["handbook"])]

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=CollectionRoute)


@router.post(
    "",
    operation_id="collections_create",
    summary="Create a collection",
    status_code=201,
    **needs(COLLECTIONS_WRITE, NameTaken, LimitReached, tagged=True),
)
def create_collection(call: CurrentCall, body: NewCollection, response: Response) -> Collection:
    """A new, empty collection."""
    made = call.services.documents.create_collection(call.principal, body.draft(), call.origin)
    response.headers["location"] = f"/v1/collections/{made.name}"
    tag(response, made.version)
    return Collection.of(made)


@router.get(
    "",
    operation_id="collections_list",
    summary="List collections",
    **needs(COLLECTIONS_READ, InvalidCursor),
)
def list_collections(
    call: CurrentCall, limit: Limit = None, cursor: Cursor = None
) -> CollectionList:
    """All collections of the workspace, newest first."""
    page = page_of(call, str, limit, cursor)
    before = None if page.after is None else CollectionId(page.after)
    found = call.services.documents.list_collections(
        call.principal, limit=page.limit, before=before
    )
    return CollectionList(
        items=[Collection.of(each) for each in found.items],
        next_cursor=next_cursor(page, found.next),
    )


@router.get(
    "/{name}",
    operation_id="collections_get",
    summary="See a collection",
    **needs(COLLECTIONS_READ, tagged=True),
)
def get_collection(call: CurrentCall, name: CollectionName, response: Response) -> Collection:
    """One collection, and how many documents it holds."""
    found = call.services.documents.get_collection(call.principal, name)
    tag(response, found.version)
    return Collection.of(found)


@router.patch(
    "/{name}",
    operation_id="collections_update",
    summary="Change a collection",
    **needs(COLLECTIONS_WRITE, if_match=True, tagged=True),
)
def update_collection(
    call: CurrentCall, name: CollectionName, body: CollectionChange, response: Response
) -> Collection:
    """Gives the collection another title. Its name is for good."""
    changed = call.services.documents.update_collection(
        call.principal, name, body.patch(), call.origin, call.if_match
    )
    tag(response, changed.version)
    return Collection.of(changed)


@router.delete(
    "/{name}",
    operation_id="collections_delete",
    summary="Delete a collection",
    status_code=204,
    **needs(COLLECTIONS_WRITE, CollectionNotEmpty, if_match=True),
)
def delete_collection(
    call: CurrentCall,
    name: CollectionName,
    documents: Annotated[
        Literal["delete"] | None,
        Query(description="`delete`: its documents too. Omitted: only an empty collection goes."),
    ] = None,
) -> None:
    """Deletes the collection, for good."""
    call.services.documents.delete_collection(
        call.principal,
        name,
        with_documents=documents == "delete",
        origin=call.origin,
        if_match=call.if_match,
    )
