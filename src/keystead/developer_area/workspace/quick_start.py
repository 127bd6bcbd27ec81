"""The page of the first three steps: create a key, push a document, find it again."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in.session import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.labels import plural
from keystead.developer_area.workspace.code_samples import CodeSamples
from keystead.developer_area.workspace.contexts import QuickStartPage
from keystead.domain.scopes import KEYS_WRITE

_FIRST_COLLECTION: Final = "docs"


class QuickStart(WorkspacePages):
    """The page of the first steps."""

    def index(self, visit: MemberVisit) -> Response:
        """Show the steps, with samples that work here as they are."""
        has_documents = self._services.keys.catalog.has_documents
        base, name = visit.workspace_url, self._newest_collection(visit) if has_documents else None
        keys = self._services.keys.quota(visit.principal).used
        collection = name or _FIRST_COLLECTION
        samples = CodeSamples(self._base_url, self._product)
        page = QuickStartPage(
            frame=visit.frame(),
            keys=plural(keys, "active key"),
            has_keys=keys > 0,
            may_create=KEYS_WRITE in set(visit.principal.scopes),
            has_documents=has_documents,
            whoami=samples.whoami,
            collection=collection,
            is_new=name is None,
            collection_url=f"{base}/collections/{collection}",
            push=samples.push(collection, create=name is None),
            query=samples.search(collection),
        )
        return self._render(page)

    def _newest_collection(self, visit: MemberVisit) -> str | None:
        page = self._services.documents.list_collections(visit.principal, limit=1)
        return page.items[0].name if page.items else None
