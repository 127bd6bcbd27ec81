"""The pages of collections: see, make and delete them; see, search and read their documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from keystead.developer_area.redirects import see_other
from keystead.developer_area.sign_in.session import Acting, Sessions, Visit
from keystead.developer_area.web.contexts import QuotaLine
from keystead.developer_area.web.navigation import next_url, workspace_url
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.web.times import moment
from keystead.developer_area.workspace.code_samples import push_lines
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
from keystead.domain.search import MAX_QUERY
from keystead.http.paging import Page, read_page
from keystead.services import Services

_SHOWN_CHARACTERS: Final = 20_000
"""How much of a document's text its page shows; all of it is a download."""
_JUST_NOW: Final = timedelta(minutes=5)


class CollectionPages:
    """What a person does with collections and sees of documents."""

    def __init__(
        self,
        services: Services,
        render: Renderer,
        sessions: Sessions,
        *,
        base_url: str,
        plans_url: str | None,
    ) -> None:
        self._services = services
        self._documents = services.documents
        self._render = render
        self._sessions = sessions
        self._base_url = base_url
        self._plans_url = plans_url

    def index(self, visit: Visit) -> Response:
        """The collections of the workspace, newest first."""
        acting, url = self._acting(visit)
        asked = read_page(
            str,
            workspace_id=acting.workspace.id,
            path=visit.request.scope["path"],
            cursor=visit.query("cursor") or None,
        )
        before = None if asked.after is None else CollectionId(asked.after)
        found = self._documents.list_collections(acting.principal, limit=asked.limit, before=before)
        now, quota = self._services.keys.now(), self._quota(acting)
        page = CollectionsPage(
            frame=self._sessions.frame(visit, acting),
            message=self._message(visit, acting, now),
            quota=quota,
            plans_url=self._plans_url,
            may_write=_may_write(acting),
            new_url=_new_url(acting),
            rows=[_collection_row(collection, url, now, acting.zone) for collection in found.items],
            first_url=url if asked.after is not None else None,
            next_url=next_url(url, asked, found.next),
        )
        return self._render(page)

    def new(self, visit: Visit) -> Response:
        """The form for a new collection."""
        acting, _ = self._acting(visit)
        acting.principal.require(COLLECTIONS_WRITE)
        return self._new_page(visit, acting, {})

    def create(self, visit: Visit) -> Response:
        """A new collection, then its page; or the form again, with what is wrong."""
        acting, url = self._acting(visit)
        name, title = visit.form.one("name").strip(), visit.form.one("title").strip()
        try:
            draft = CollectionDraft(name, title or None)
            made = self._documents.create_collection(acting.principal, draft, visit.origin)
        except Invalid as refused:
            problems = {e.pointer.removeprefix("/"): f"It {e.detail}." for e in refused.errors}
            return self._new_page(visit, acting, problems, status=422)
        except NameTaken as refused:
            return self._new_page(visit, acting, {"name": refused.detail}, status=409)
        except LimitReached as refused:
            return self._new_page(visit, acting, {"form": refused.detail}, status=409)
        return see_other(f"{url}/{made.name}")

    def collection(self, visit: Visit) -> Response:
        """One collection: its documents or those that a search finds, and how to push to it."""
        acting, url = self._acting(visit)
        collection = self._collection(visit, acting)
        query = visit.query("query").strip()[:MAX_QUERY]
        here, now = f"{url}/{collection.name}", self._services.keys.now()
        asked = read_page(
            int,
            workspace_id=acting.workspace.id,
            path=visit.request.scope["path"],
            filters={"query": query},
            cursor=visit.query("cursor") or None,
        )
        found, following, problem = self._found(acting, collection.name, query, asked)
        page = CollectionPage(
            frame=self._sessions.frame(visit, acting),
            name=collection.name,
            title=collection.title,
            documents=_documents(collection.documents),
            created=moment(collection.created_at, now, acting.zone),
            updated=moment(collection.updated_at, now, acting.zone),
            url=here,
            list_url=url,
            delete_url=f"{here}/delete" if _may_write(acting) else None,
            query=query,
            problem=problem,
            rows=[_document_row(document, here, now, acting.zone) for document in found],
            is_empty=not collection.documents,
            lines=push_lines(self._base_url, collection.name),
            first_url=here if asked.after is not None else None,
            next_url=next_url(here, asked, following, query=query),
        )
        return self._render(page, 422 if problem else 200)

    def document(self, visit: Visit) -> Response:
        """One document with its text."""
        acting, url = self._acting(visit)
        collection = self._collection(visit, acting)
        document = self._documents.get(acting.principal, collection.name, visit.path("id"))
        now, here = self._services.keys.now(), f"{url}/{collection.name}"
        attributes = dict(document.attributes)
        page = DocumentPage(
            frame=self._sessions.frame(visit, acting),
            id=document.id,
            title=document.title,
            link=document.url,
            attributes=json.dumps(attributes, indent=2, ensure_ascii=False) if attributes else "",
            text=document.text[:_SHOWN_CHARACTERS],
            is_cut=len(document.text) > _SHOWN_CHARACTERS,
            text_url=f"{here}/documents/{document.id}/text",
            created=moment(document.created_at, now, acting.zone),
            updated=moment(document.updated_at, now, acting.zone),
            collection=collection.title,
            collection_url=here,
        )
        return self._render(page)

    def text(self, visit: Visit) -> Response:
        """A document's whole text, as a file."""
        acting, _ = self._acting(visit)
        document = self._documents.get(acting.principal, visit.path("name"), visit.path("id"))
        headers = {
            "content-disposition": f'attachment; filename="{document.id}.txt"',
            "cache-control": "no-store",
        }
        return Response(document.text, media_type="text/plain; charset=utf-8", headers=headers)

    def ask_to_delete(self, visit: Visit) -> Response:
        """The question before a collection is deleted."""
        acting, url = self._acting(visit)
        acting.principal.require(COLLECTIONS_WRITE)
        return self._delete_page(visit, acting, self._collection(visit, acting), url)

    def delete(self, visit: Visit) -> Response:
        """Deletes the collection, with its documents where its name was typed; then back to the list, which says so."""
        acting, url = self._acting(visit)
        name = visit.path("name")
        confirmed = visit.form.one("confirm").strip() == name
        try:
            self._documents.delete_collection(
                acting.principal, name, with_documents=confirmed, origin=visit.origin
            )
        except CollectionNotEmpty:
            problem = "Type the name of the collection exactly as it stands above."
            collection = self._collection(visit, acting)
            return self._delete_page(visit, acting, collection, url, problem)
        return see_other(f"{url}?{urlencode({'deleted': name})}")

    def _acting(self, visit: Visit) -> tuple[Acting, str]:
        acting = self._sessions.acting(visit)
        return acting, f"{workspace_url(acting.workspace.id)}/collections"

    def _collection(self, visit: Visit, acting: Acting) -> Collection:
        return self._documents.get_collection(acting.principal, visit.path("name"))

    def _found(
        self, acting: Acting, name: str, query: str, asked: Page[int]
    ) -> tuple[Sequence[DocumentSummary], int | None, str]:
        """Documents, where the next page begins, and what is wrong with the search."""
        if not query:
            page = self._documents.list(
                acting.principal, name, limit=asked.limit, before=asked.after
            )
            return page.items, page.next, ""
        try:
            return self._documents.search(acting.principal, name, query), None, ""
        except Invalid as refused:
            return [], None, f"The search {refused.errors[0].detail}."

    def _quota(self, acting: Acting) -> QuotaLine:
        use = self._services.plans.use(acting.principal)
        quota = use.quotas["collections"]
        of = "" if quota.limit is None else f" of {quota.limit:,}"
        noun = "collection" if (quota.limit or quota.used) == 1 else "collections"
        return QuotaLine(f"{quota.used:,}{of} {noun}", quota.used, quota.limit, use.plan.name)

    def _message(self, visit: Visit, acting: Acting, now: datetime) -> str:
        """What has just happened, told from the record: a made-up address announces nothing."""
        said = visit.query("deleted")
        if not said:
            return ""
        types = [EventType.COLLECTION_DELETED]
        for event in self._services.events.list(acting.principal, types=types, limit=20).items:
            if event.target.id == said and now - event.occurred_at < _JUST_NOW:
                return f"The collection {said} is deleted."
        return ""

    def _new_page(
        self, visit: Visit, acting: Acting, problems: Mapping[str, str], *, status: int = 200
    ) -> Response:
        quota = self._quota(acting)
        page = NewCollectionPage(
            frame=self._sessions.frame(visit, acting),
            url=f"{workspace_url(acting.workspace.id)}/collections",
            quota=quota,
            plans_url=self._plans_url,
            problems=problems,
            name=visit.form.one("name"),
            title=visit.form.one("title"),
            max_title=MAX_TITLE,
        )
        return self._render(page, status)

    def _delete_page(
        self, visit: Visit, acting: Acting, collection: Collection, url: str, problem: str = ""
    ) -> Response:
        here = f"{url}/{collection.name}"
        page = DeleteCollectionPage(
            frame=self._sessions.frame(visit, acting),
            name=collection.name,
            title=collection.title,
            documents=_documents(collection.documents) if collection.documents else "",
            url=f"{here}/delete",
            back_url=here,
            problem=problem,
        )
        return self._render(page, 409 if problem else 200)


def _may_write(acting: Acting) -> bool:
    return COLLECTIONS_WRITE in set(acting.principal.scopes)


def _new_url(acting: Acting) -> str:
    """Beside the collections, not below them, where every name may be a collection's."""
    return f"{workspace_url(acting.workspace.id)}/new-collection"


def _collection_row(collection: Collection, url: str, now: datetime, zone: tzinfo) -> CollectionRow:
    return CollectionRow(
        name=collection.name,
        title=collection.title,
        url=f"{url}/{collection.name}",
        documents=f"{collection.documents:,}",
        created=moment(collection.created_at, now, zone),
        updated=moment(collection.updated_at, now, zone),
    )


def _document_row(document: DocumentSummary, here: str, now: datetime, zone: tzinfo) -> DocumentRow:
    return DocumentRow(
        id=document.id,
        title=document.title or document.id,
        url=f"{here}/documents/{document.id}",
        link=document.url,
        updated=moment(document.updated_at, now, zone),
    )


def _documents(number: int) -> str:
    return f"{number:,} document" if number == 1 else f"{number:,} documents"
