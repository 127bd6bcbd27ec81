"""Collections over the API: the calls, and how both kinds of client offer them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from keystead.client import reading
from keystead.client.connection import AsyncConnection, Connection
from keystead.client.exchange import Call, Request, encode, path_of
from keystead.client.results import Collection, Page

PATH = "/v1/collections"


def _page(limit: int, cursor: str | None) -> Call[Page[Collection]]:
    asked = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
    return Call(Request("GET", PATH, asked), reading.page(reading.collection))


def _get(name: str) -> Call[Collection]:
    return Call(Request("GET", PATH + path_of(name)), reading.collection)


def _create(name: str, title: str | None) -> Call[Collection]:
    body = {"name": name} | ({} if title is None else {"title": title})
    request = Request("POST", PATH, body=encode(body), repeatable=False)
    return Call(request, reading.collection)


def _update(name: str, title: str) -> Call[Collection]:
    body = encode({"title": title})
    return Call(Request("PATCH", PATH + path_of(name), body=body), reading.collection)


def _delete(name: str, documents: bool) -> Call[None]:
    asked = {"documents": "delete"} if documents else {}
    request = Request("DELETE", PATH + path_of(name), asked, repeatable=False)
    return Call(request, reading.nothing)


class Collections:
    """The collections of the workspace."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Iterator[Collection]:
        """Every collection, newest first."""
        return self._connection.walk(lambda cursor: _page(200, cursor))

    def page(self, *, limit: int = 50, cursor: str | None = None) -> Page[Collection]:
        """One page of collections."""
        return self._connection.run(_page(limit, cursor))

    def get(self, name: str) -> Collection:
        """One collection. NotFound."""
        return self._connection.run(_get(name))

    def create(self, name: str, title: str | None = None) -> Collection:
        """A new collection, titled by its name unless a title is given. NameTaken, LimitReached, Invalid."""
        return self._connection.run(_create(name, title))

    def update(self, name: str, *, title: str, if_match: str | None = None) -> Collection:
        """The collection with another title."""
        return self._connection.run(_update(name, title).when(if_match))

    def delete(self, name: str, *, documents: bool = False, if_match: str | None = None) -> None:
        """Deletes the collection; with `documents` those in it too, else CollectionNotEmpty where there are any."""
        self._connection.run(_delete(name, documents).when(if_match))


class AsyncCollections:
    """As Collections, awaited."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    def list(self) -> AsyncIterator[Collection]:
        """As Collections.list."""
        return self._connection.walk(lambda cursor: _page(200, cursor))

    async def page(self, *, limit: int = 50, cursor: str | None = None) -> Page[Collection]:
        """As Collections.page."""
        return await self._connection.run(_page(limit, cursor))

    async def get(self, name: str) -> Collection:
        """As Collections.get."""
        return await self._connection.run(_get(name))

    async def create(self, name: str, title: str | None = None) -> Collection:
        """As Collections.create."""
        return await self._connection.run(_create(name, title))

    async def update(self, name: str, *, title: str, if_match: str | None = None) -> Collection:
        """As Collections.update."""
        return await self._connection.run(_update(name, title).when(if_match))

    async def delete(
        self, name: str, *, documents: bool = False, if_match: str | None = None
    ) -> None:
        """As Collections.delete."""
        await self._connection.run(_delete(name, documents).when(if_match))
