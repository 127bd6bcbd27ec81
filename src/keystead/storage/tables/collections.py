"""Collections and the counters of their documents."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, Text, func, insert, literal, select, update
from sqlalchemy import delete as delete_from

from keystead.domain.documents import Collection, CollectionId
from keystead.domain.ids import WorkspaceId
from keystead.storage.database import Tx
from keystead.storage.schema.columns import by_age
from keystead.storage.schema.tables import collections


def insert_collection(tx: Tx, collection: Collection) -> None:
    """Insert an empty collection. The caller holds the lock and has checked that its name is free."""
    tx.execute(
        insert(collections),
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
    row = tx.execute(_collections_of(workspace_id).where(collections.c.name == name)).first()
    return None if row is None else _from_row(row)


def newest_collection_id(tx: Tx, workspace_id: WorkspaceId) -> str | None:
    """Return the workspace's highest collection id. A new one must be higher, to keep pages in order."""
    newest = select(collections.c.id).where(collections.c.workspace_id == workspace_id)
    return tx.execute(newest.order_by(by_age(tx, collections.c.id).desc()).limit(1)).scalar()


def page_of_collections(
    tx: Tx, workspace_id: WorkspaceId, *, limit: int, before: CollectionId | None = None
) -> list[Collection]:
    """Return at most `limit` collections, newest first, with an id below `before`."""
    age = by_age(tx, collections.c.id)
    page = _collections_of(workspace_id).order_by(age.desc()).limit(limit)
    if before is not None:
        page = page.where(age < literal(before, Text))
    return [_from_row(row) for row in tx.execute(page)]


def count_collections(tx: Tx, workspace_id: WorkspaceId) -> int:
    """Return how many collections the workspace has."""
    counted = select(func.count()).select_from(collections)
    return tx.execute(counted.where(*_living(workspace_id))).scalar_one()


def count_documents(tx: Tx, workspace_id: WorkspaceId) -> int:
    """Return how many documents the workspace has in all: the sum of its collections' counters."""
    counted = select(func.coalesce(func.sum(collections.c.documents), 0))
    return int(tx.execute(counted.where(*_living(workspace_id))).scalar_one())


def retitle_collection(tx: Tx, collection: Collection) -> None:
    """Write the title, the time of its change, and the version."""
    changed = _one(collection).values(
        title=collection.title, updated_at=collection.updated_at, version=collection.version
    )
    tx.execute(changed)


def take_numbers(
    tx: Tx, collection: Collection, *, created: int, deleted: int, now: datetime
) -> int:
    """Update the counters and the time of change. Returns the number of the first created document."""
    # One UPDATE takes the numbers and locks the row, so two pushes can never take the same ones.
    counted = _one(collection).values(
        documents=collections.c.documents + created - deleted,
        last_number=collections.c.last_number + created,
        updated_at=now,
    )
    last = int(tx.execute(counted.returning(collections.c.last_number)).scalar_one())
    return last - created + 1


def unname_collection(tx: Tx, collection: Collection) -> None:
    """Hide the collection from every reader. Its row and its documents are deleted later, in batches."""
    tx.execute(_one(collection).values(name=None))


def delete_collection(tx: Tx, workspace_id: WorkspaceId, collection_id: CollectionId) -> None:
    """Delete the row of a collection that has no documents."""
    which = (collections.c.workspace_id == workspace_id, collections.c.id == collection_id)
    tx.execute(delete_from(collections).where(*which))


def unnamed_collections(tx: Tx) -> list[tuple[WorkspaceId, CollectionId]]:
    """Return the ids of hidden collections of all workspaces, whose rows are not deleted yet."""
    query = select(collections.c.workspace_id, collections.c.id)
    return [
        (row.workspace_id, row.id) for row in tx.execute(query.where(collections.c.name.is_(None)))
    ]


def _collections_of(workspace_id: WorkspaceId) -> Select[Any]:
    return select(collections).where(*_living(workspace_id))


def _living(workspace_id: WorkspaceId) -> Any:
    return collections.c.workspace_id == workspace_id, collections.c.name.is_not(None)


def _one(collection: Collection) -> Any:
    return update(collections).where(
        collections.c.workspace_id == collection.workspace_id, collections.c.id == collection.id
    )


def _from_row(row: Row[Any]) -> Collection:
    return Collection(
        id=row.id,
        workspace_id=row.workspace_id,
        name=row.name,
        title=row.title,
        documents=row.documents,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )
