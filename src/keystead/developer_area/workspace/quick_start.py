"""The page of the first three steps: create a key, push a document, find it again."""

from __future__ import annotations

import shlex
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in.session import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.labels import plural
from keystead.developer_area.workspace.code_samples import push_samples, search_samples
from keystead.developer_area.workspace.contexts import QuickStartPage
from keystead.domain.scopes import KEYS_WRITE

_FIRST_COLLECTION: Final = "docs"


class QuickStart(WorkspacePages):
    """The page of the first steps."""

    def index(self, visit: MemberVisit) -> Response:
        """Show the steps, with samples that work here as they are."""
        base, name = visit.workspace_url, self._newest_collection(visit)
        keys = self._services.keys.quota(visit.principal).used
        collection = name or _FIRST_COLLECTION
        whoami = shlex.quote(f"{self._base_url}/v1/whoami")
        page = QuickStartPage(
            frame=visit.frame(),
            keys=plural(keys, "active key"),
            has_keys=keys > 0,
            may_create=KEYS_WRITE in set(visit.principal.scopes),
            whoami=f'curl -H "Authorization: Bearer $KEYSTEAD_TOKEN" {whoami}',
            collection=collection,
            is_new=name is None,
            collection_url=f"{base}/collections/{collection}",
            push=push_samples(self._base_url, collection, create=name is None),
            query=search_samples(self._base_url, collection),
        )
        return self._render(page)

    def _newest_collection(self, visit: MemberVisit) -> str | None:
        page = self._services.documents.list_collections(visit.principal, limit=1)
        return page.items[0].name if page.items else None
