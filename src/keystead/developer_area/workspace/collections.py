"""The pages of collections and their documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in.session import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Pager
from keystead.developer_area.web.labels import field_problems, plural
from keystead.developer_area.web.navigation import pager, see_other, with_query
from keystead.developer_area.workspace.code_samples import CodeSamples
from keystead.developer_area.workspace.contexts import (
    CollectionPage,
    CollectionRow,
    CollectionsPage,
    DeleteCollectionPage,
    DocumentPage,
    DocumentRow,
    NewCollectionPage,
)
from keystead.domain.documents import (
    MAX_TITLE,
    Collection,
    CollectionDraft,
    CollectionId,
    DocumentSummary,
)
from keystead.domain.errors import CollectionNotEmpty, Invalid, LimitReached, NameTaken
from keystead.domain.events import EventType
from keystead.domain.scopes import COLLECTIONS_WRITE
from keystead.domain.search import MAX_QUERY, SearchPosition

MAX_SHOWN: Final = 20_000
"""Characters of a document on its page; the whole text is a download."""
_RECENT: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A page of a collection's documents, or of the results of a search."""

    rows: Sequence[DocumentRow]
    pages: Pager
    total: str = ""
    problem: str = ""


class CollectionPages(WorkspacePages):
    """The pages of collections."""

    def index(self, visit: MemberVisit) -> Response:
        """List the collections, newest first."""
        url, page = _collections_url(visit), visit.page(str)
        before = None if page.after is None else CollectionId(page.after)
        collections = self._services.documents.list_collections(
            visit.principal, limit=page.limit, before=before
        )
        context = CollectionsPage(
            frame=visit.frame(self._message(visit)),
            quota=self._quota(visit, "collections", "collection"),
            may_write=_may_write(visit),
            rows=[_collection_row(collection, visit) for collection in collections.items],
            pages=pager(url, page, collections.next),
        )
        return self._render(context)

    def new(self, visit: MemberVisit) -> Response:
        """Show the form of a new collection."""
        visit.principal.require(COLLECTIONS_WRITE)
        return self._form(visit, {})

    def create(self, visit: MemberVisit) -> Response:
        """Create a collection and show it, or show the form again with its problems."""
        name, title = visit.form.one("name").strip(), visit.form.one("title").strip()
        try:
            draft = CollectionDraft(name, title or None)
            collection = self._services.documents.create_collection(
                visit.principal, draft, visit.origin
            )
        except Invalid as refused:
            labels = {"name": "Name", "title": "Title"}
            return self._form(visit, field_problems(refused, labels), status=422)
        except NameTaken as refused:
            return self._form(visit, {"name": refused.detail}, status=409)
        except LimitReached as refused:
            return self._form(visit, {"form": refused.detail}, status=409)
        return see_other(f"{_collections_url(visit)}/{collection.name}")

    def show(self, visit: MemberVisit) -> Response:
        """Show a collection with its documents or search results, and how to push to it."""
        collection = self._collection(visit)
        query = visit.query("query").strip()[:MAX_QUERY]
        url = f"{_collections_url(visit)}/{collection.name}"
        shown = self._documents(visit, collection.name, url, query)
        context = CollectionPage(
            frame=visit.frame(),
            name=collection.name,
            title=collection.title,
            documents=plural(collection.documents, "document"),
            created=visit.timestamp(collection.created_at),
            updated=visit.timestamp(collection.updated_at),
            url=url,
            list_url=_collections_url(visit),
            delete_url=f"{url}/delete" if _may_write(visit) else None,
            query=query,
            problem=shown.problem,
            total=shown.total,
            rows=shown.rows,
            is_empty=not collection.documents,
            lines=CodeSamples(self._base_url, self._product).push(collection.name),
            pages=shown.pages,
        )
        return self._render(context, 422 if shown.problem else 200)

    def document(self, visit: MemberVisit) -> Response:
        """Show a document."""
        collection = self._collection(visit)
        document = self._services.documents.get(visit.principal, collection.name, visit.path("id"))
        url = f"{_collections_url(visit)}/{collection.name}"
        attributes = dict(document.attributes)
        page = DocumentPage(
            frame=visit.frame(),
            id=document.id,
            title=document.title,
            link=document.url,
            attributes=json.dumps(attributes, indent=2, ensure_ascii=False) if attributes else "",
            text=document.text[:MAX_SHOWN],
            is_cut=len(document.text) > MAX_SHOWN,
            text_url=f"{url}/documents/{document.id}/text",
            created=visit.timestamp(document.created_at),
            updated=visit.timestamp(document.updated_at),
            collection=collection.title,
            collection_url=url,
        )
        return self._render(page)

    def text(self, visit: MemberVisit) -> Response:
        """Download a document's whole text."""
        document = self._services.documents.get(
            visit.principal, visit.path("name"), visit.path("id")
        )
        headers = {
            "content-disposition": f'attachment; filename="{document.id}.txt"',
            "cache-control": "no-store",
        }
        return Response(document.text, media_type="text/plain; charset=utf-8", headers=headers)

    def delete_form(self, visit: MemberVisit) -> Response:
        """Ask before deleting a collection."""
        visit.principal.require(COLLECTIONS_WRITE)
        return self._delete_page(visit, self._collection(visit))

    def delete(self, visit: MemberVisit) -> Response:
        """Delete a collection and show the list. Its documents require its name."""
        name = visit.path("name")
        confirmed = visit.form.one("confirm").strip() == name
        try:
            self._services.documents.delete_collection(
                visit.principal, name, with_documents=confirmed, origin=visit.origin
            )
        except CollectionNotEmpty:
            problem = "That doesn't match. Type the collection's name exactly as shown above."
            return self._delete_page(visit, self._collection(visit), problem)
        return see_other(with_query(_collections_url(visit), deleted=name))

    def _collection(self, visit: MemberVisit) -> Collection:
        return self._services.documents.get_collection(visit.principal, visit.path("name"))

    def _documents(self, visit: MemberVisit, name: str, url: str, query: str) -> _Shown:
        """Return the documents to show: a page of the list, or of the results of the search."""
        documents = self._services.documents
        if not query:
            page = visit.page(int)
            listed = documents.list(visit.principal, name, limit=page.limit, before=page.after)
            rows = [_document_row(document, url, visit) for document in listed.items]
            return _Shown(rows, pager(url, page, listed.next))
        results = visit.page(str, query=query)
        after = None if results.after is None else SearchPosition.parse(results.after)
        try:
            found = documents.search(visit.principal, name, query, limit=results.limit, after=after)
        except Invalid as refused:
            problem = f"The search {refused.errors[0].detail}."
            return _Shown([], pager(url, results, None, query=query), problem=problem)
        rows = [_document_row(hit, url, visit, hit.snippet) for hit in found.items]
        position = None if found.next is None else str(found.next)
        pages = pager(url, results, position, query=query)
        return _Shown(rows, pages, total=_total(found.total, found.total_exact))

    def _message(self, visit: MemberVisit) -> str:
        """Return that a collection was deleted if the audit log says so: a forged URL announces nothing."""
        name = visit.query("deleted")
        if not name:
            return ""
        types, now = [EventType.COLLECTION_DELETED], visit.now()
        for event in self._services.events.list(visit.principal, types=types, limit=20).items:
            if event.target.id == name and now - event.occurred_at < _RECENT:
                return f"The collection {name} was deleted."
        return ""

    def _form(
        self, visit: MemberVisit, problems: Mapping[str, str], *, status: int = 200
    ) -> Response:
        page = NewCollectionPage(
            frame=visit.frame(),
            url=_collections_url(visit),
            quota=self._quota(visit, "collections", "collection"),
            problems=problems,
            name=visit.form.one("name"),
            title=visit.form.one("title"),
            max_title=MAX_TITLE,
        )
        return self._render(page, status)

    def _delete_page(
        self, visit: MemberVisit, collection: Collection, problem: str = ""
    ) -> Response:
        url, count = f"{_collections_url(visit)}/{collection.name}", collection.documents
        page = DeleteCollectionPage(
            frame=visit.frame(),
            name=collection.name,
            title=collection.title,
            documents=plural(count, "document") if count else "",
            url=f"{url}/delete",
            back_url=url,
            problem=problem,
        )
        return self._render(page, 409 if problem else 200)


def _collections_url(visit: MemberVisit) -> str:
    return f"{visit.workspace_url}/collections"


def _may_write(visit: MemberVisit) -> bool:
    return COLLECTIONS_WRITE in set(visit.principal.scopes)


def _collection_row(collection: Collection, visit: MemberVisit) -> CollectionRow:
    return CollectionRow(
        name=collection.name,
        title=collection.title,
        url=f"{_collections_url(visit)}/{collection.name}",
        documents=f"{collection.documents:,}",
        created=visit.timestamp(collection.created_at),
        updated=visit.timestamp(collection.updated_at),
    )


def _total(total: int, is_exact: bool) -> str:
    return f"{'' if is_exact else 'At least '}{plural(total, 'document')}" if total else ""


def _document_row(
    document: DocumentSummary, url: str, visit: MemberVisit, snippet: str = ""
) -> DocumentRow:
    return DocumentRow(
        id=document.id,
        title=document.title or document.id,
        url=f"{url}/documents/{document.id}",
        link=document.url,
        updated=visit.timestamp(document.updated_at),
        snippet=snippet,
    )
