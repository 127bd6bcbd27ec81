"""Collections and the counters of their documents."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Text, and_, bindparam, collate, insert, select, update
from sqlalchemy import delete as delete_from

from keystead.domain.documents import Collection, CollectionId
from keystead.domain.ids import WorkspaceId
from keystead.storage.database import Tx
from keystead.storage.queries import Change, Query
from keystead.storage.schema.columns import ABOVE_EVERY_ID, BY_AGE, LIMIT
from keystead.storage.schema.tables import collections

_COLUMNS: Final = (
    collections.c.id,
    collections.c.workspace_id,
    collections.c.name,
    collections.c.title,
    collections.c.documents,
    collections.c.created_at,
    collections.c.updated_at,
    collections.c.version,
)
_OF_WORKSPACE: Final = collections.c.workspace_id == bindparam("in_workspace")
_LIVING: Final = and_(_OF_WORKSPACE, collections.c.name.is_not(None))
_ONE: Final = and_(_OF_WORKSPACE, collections.c.id == bindparam("collection"))
_AGES: Final = (collections.c.id, collate(collections.c.id, BY_AGE))
"""The id, which rises with time, as the indexes of each engine have it: SQLite, PostgreSQL."""

_INSERT: Final = insert(collections)
_FIND: Final = Query(
    select(*_COLUMNS).where(_OF_WORKSPACE, collections.c.name == bindparam("collection_name"))
)
_NEWEST_ID: Final = tuple(
    Query(select(collections.c.id).where(_OF_WORKSPACE).order_by(age.desc()).limit(1))
    for age in _AGES
)
_PAGE: Final = tuple(
    Query(
        select(*_COLUMNS)
        .where(_LIVING, age < bindparam("before", type_=Text))
        .order_by(age.desc())
        .limit(LIMIT)
    )
    for age in _AGES
)
_RETITLE: Final = (
    update(collections)
    .where(_ONE)
    .values(
        title=bindparam("new_title"),
        updated_at=bindparam("now"),
        version=bindparam("new_version"),
    )
)
# One UPDATE takes the numbers and locks the row, so two pushes can never take the same ones.
_TAKE_NUMBERS: Final = Change(
    update(collections)
    .where(_ONE)
    .values(
        documents=collections.c.documents + bindparam("growth"),
        last_number=collections.c.last_number + bindparam("created"),
        updated_at=bindparam("now"),
    )
    .returning(collections.c.last_number)
)
_UNNAME: Final = update(collections).where(_ONE).values(name=None)
_DELETE: Final = delete_from(collections).where(_ONE)
_UNNAMED: Final = Query(
    select(collections.c.workspace_id, collections.c.id).where(collections.c.name.is_(None))
)


def insert_collection(tx: Tx, collection: Collection) -> None:
    """Insert an empty collection. The caller holds the lock and has checked that its name is free."""
    tx.execute(
        _INSERT,
        {
            "id": collection.id,
            "workspace_id": collection.workspace_id,
            "name": collection.name,
            "title": collection.title,
            "created_at": collection.created_at,
            "updated_at": collection.updated_at,
            "version": collection.version,
        },
    )


def find_collection(tx: Tx, workspace_id: WorkspaceId, name: str) -> Collection | None:
    """Return the workspace's collection of that name."""
    values = {"in_workspace": workspace_id, "collection_name": name}
    row = _FIND.first(tx, values)
    return None if row is None else Collection(*row)


def newest_collection_id(tx: Tx, workspace_id: WorkspaceId) -> str | None:
    """Return the workspace's highest collection id. A new one must be higher, to keep pages in order."""
    newest: str | None = _NEWEST_ID[_engine(tx)].scalar(tx, {"in_workspace": workspace_id})
    return newest


def page_of_collections(
    tx: Tx, workspace_id: WorkspaceId, *, limit: int, before: CollectionId | None = None
) -> list[Collection]:
    """Return at most `limit` collections, newest first, with an id below `before`."""
    values = {
        "in_workspace": workspace_id,
        "limit": limit,
        "before": ABOVE_EVERY_ID if before is None else before,
    }
    return [Collection(*row) for row in _PAGE[_engine(tx)].all(tx, values)]


def retitle_collection(tx: Tx, collection: Collection) -> None:
    """Write the title, the time of its change, and the version."""
    values = {
        "new_title": collection.title,
        "now": collection.updated_at,
        "new_version": collection.version,
    }
    tx.execute(_RETITLE, _within(collection) | values)


def take_numbers(
    tx: Tx, collection: Collection, *, created: int, deleted: int, now: datetime
) -> int:
    """Update the counters and the time of change. Returns the number of the first created document."""
    values = {"growth": created - deleted, "created": created, "now": now}
    row = _TAKE_NUMBERS.run(tx, _within(collection) | values)
    assert row is not None  # noqa: S101 - the caller found the collection under the workspace's lock
    return int(row[0]) - created + 1


def unname_collection(tx: Tx, collection: Collection) -> None:
    """Hide the collection from every reader. Its row and its documents are deleted later, in batches."""
    tx.execute(_UNNAME, _within(collection))


def delete_collection(tx: Tx, workspace_id: WorkspaceId, collection_id: CollectionId) -> None:
    """Delete the row of a collection that has no documents."""
    tx.execute(_DELETE, {"in_workspace": workspace_id, "collection": collection_id})


def unnamed_collections(tx: Tx) -> list[tuple[WorkspaceId, CollectionId]]:
    """Return the ids of hidden collections of all workspaces, whose rows are not deleted yet."""
    return [(workspace_id, id) for workspace_id, id in _UNNAMED.all(tx)]


def _within(collection: Collection) -> dict[str, Any]:
    return {"in_workspace": collection.workspace_id, "collection": collection.id}


def _engine(tx: Tx) -> int:
    """Return the position of the engine's statement: 0 for SQLite, 1 for PostgreSQL."""
    return int(tx.dialect.name != "sqlite")
