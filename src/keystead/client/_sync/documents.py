"""The calls about collections and their documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Final

from keystead.client._sync.sending import Resource
from keystead.client.errors import NameTaken, NotFound, Problem, UnexpectedAnswer
from keystead.client.folders.folder_push import Batch, FolderPush, FolderReport
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
from keystead.domain.documents import MAX_PUSH, DocumentDraft
from keystead.domain.keys import UNSET

PATH: Final = "/v1/collections"


class Collections(Resource):
    """The collections of the workspace."""

    def list(self) -> Iterator[Collection]:
        """Yield every collection, newest first."""
        request = Request("GET", PATH, {"limit": str(PAGE_SIZE)})
        return self._connection.paginate(request, Page[Collection])

    def page(self, *, limit: int = 50, cursor: str | None = None) -> Page[Collection]:
        """Return a page of collections."""
        request = Request("GET", PATH, {"limit": str(limit), "cursor": cursor})
        return self._connection.send(request, Page[Collection])

    def get(self, name: str) -> Collection:
        """Return a collection. Raises NotFound."""
        return self._connection.send(Request("GET", path_of(PATH, name)), Collection)

    def create(self, name: str, title: str | None = None) -> Collection:
        """Create a collection; its title is its name by default. Raises NameTaken, LimitReached, Invalid."""
        body = json_body(name=name, title=UNSET if title is None else title)
        request = Request("POST", PATH, body=body, repeatable=False)
        return self._connection.send(request, Collection)

    def update(self, name: str, *, title: str, if_match: str | None = None) -> Collection:
        """Change the title of a collection."""
        body = json_body(title=title)
        request = Request("PATCH", path_of(PATH, name), body=body, if_match=if_match)
        return self._connection.send(request, Collection)

    def delete(self, name: str, *, documents: bool = False, if_match: str | None = None) -> None:
        """Delete a collection. Raises CollectionNotEmpty if it has documents, unless `documents` is true."""
        query = {"documents": "delete" if documents else None}
        path = path_of(PATH, name)
        request = Request("DELETE", path, query, if_match=if_match, repeatable=False)
        self._connection.send(request, NoneType)


class Documents(Resource):
    """The documents of collections."""

    def list(self, collection: str) -> Iterator[DocumentSummary]:
        """Yield every document without its text, newest first. Raises NotFound."""
        request = Request("GET", _path(collection), {"limit": str(PAGE_SIZE)})
        return self._connection.paginate(request, Page[DocumentSummary])

    def page(
        self, collection: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page[DocumentSummary]:
        """Return a page of documents."""
        request = Request("GET", _path(collection), {"limit": str(limit), "cursor": cursor})
        return self._connection.send(request, Page[DocumentSummary])

    def search(
        self, collection: str, query: str, *, limit: int = 50, cursor: str | None = None
    ) -> SearchPage:
        """Return a page of the matches of 1-10 words, best first. The last word may be a prefix."""
        values = {"query": query, "limit": str(limit), "cursor": cursor}
        return self._connection.send(Request("GET", _path(collection), values), SearchPage)

    def get(self, collection: str, id: str) -> Document:
        """Return a document with its text. Raises NotFound."""
        return self._connection.send(Request("GET", path_of(_path(collection), id)), Document)

    def put(
        self, collection: str, document: DocumentDraft, *, if_match: str | None = None
    ) -> Document:
        """Create a document, or replace the one with its id. Raises LimitReached, Invalid, TooLarge."""
        path = path_of(_path(collection), document.id)
        body = json_body(**document_members(document))
        return self._connection.send(Request("PUT", path, body=body, if_match=if_match), Document)

    def delete(self, collection: str, id: str, *, if_match: str | None = None) -> None:
        """Delete a document. Raises NotFound."""
        path = path_of(_path(collection), id)
        request = Request("DELETE", path, if_match=if_match, repeatable=False)
        self._connection.send(request, NoneType)

    def push(
        self, collection: str, upsert: Sequence[DocumentDraft] = (), delete: Sequence[str] = ()
    ) -> PushReport:
        """Put and delete at most 1,000 documents and 10 MiB, all or nothing. Repeating a push changes nothing."""
        return self._connection.send(_batch(collection, batch_body(upsert, delete)), PushReport)

    def push_folder(
        self,
        collection: str,
        folder: FolderPush | Path | str,
        *,
        create: bool = False,
        delete_missing: bool = False,
        advance: Callable[[int], None] | None = None,
    ) -> FolderReport:
        """Push the files of a folder: Markdown, text, and JSON lines. Repeating it changes nothing.

        What can't be pushed is in the report, and the rest is pushed.

        Args:
            collection: The collection's name.
            folder: The folder or file; or a `FolderPush`, which has more options.
            create: Create the collection if it does not exist.
            delete_missing: Delete the collection's documents that are not in this push. Only for whole folders, and
                never if something could not be pushed or there are no documents at all.
            advance: Called with the size of each file that was read, in bytes.

        Raises:
            NotFound: There is no such collection, and `create` is false.
            InvalidValue: The folder is unusable, or it is not whole and `delete_missing` is true.
        """
        push = folder if isinstance(folder, FolderPush) else FolderPush(folder)
        if delete_missing:
            push.require_whole()
        for batch in push.batches(advance):
            self._push_batch(collection, push, batch, create)
        if delete_missing and push.ids and not push.report.refused:
            self.delete_missing(collection, push, self.missing(collection, push))
        return push.report

    def missing(self, collection: str, push: FolderPush) -> Sequence[str]:
        """Return the ids of the documents that the collection has and a finished push doesn't."""
        missing: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": str(PAGE_SIZE), "cursor": cursor or None}
            request = Request("GET", _path(collection), query)
            page = self._connection.send(request, Page[DocumentSummary])
            missing += [item.id for item in page.items if item.id not in push.ids]
            cursor = page.next_cursor
        return missing

    def delete_missing(self, collection: str, push: FolderPush, ids: Sequence[str]) -> None:
        """Delete these documents, which are missing in a push, and add them to its report."""
        for start in range(0, len(ids), MAX_PUSH):
            body = batch_body((), ids[start : start + MAX_PUSH])
            push.report.add(self._connection.send(_batch(collection, body), PushReport))

    def _push_batch(self, collection: str, push: FolderPush, batch: Batch, create: bool) -> None:
        """Push a batch without the documents that the server refuses, which are reported one by one."""
        waiting = [batch]
        while waiting:
            part = waiting.pop(0)
            request = _batch(collection, batch_body([document.draft for document in part], ()))
            try:
                push.report.add(self._connection.send(request, PushReport))
            except NotFound:
                if not create:
                    raise
                create = False
                waiting.insert(0, part)
                self._create_collection(collection)
            except (Problem, UnexpectedAnswer) as error:
                waiting[:0] = push.without_refused(part, error)

    def _create_collection(self, name: str) -> None:
        """Create a collection, unless another push has done so meanwhile."""
        request = Request("POST", PATH, body=json_body(name=name, title=UNSET), repeatable=False)
        with suppress(NameTaken):
            self._connection.send(request, Collection)


def _batch(collection: str, body: bytes) -> Request:
    return Request("POST", f"{_path(collection)}/batch", body=body)


def _path(collection: str) -> str:
    return f"{path_of(PATH, collection)}/documents"
