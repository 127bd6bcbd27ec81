"""The page of the first three steps: create a key, push a document, find it again."""

from __future__ import annotations

import shlex
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in.session import Acting, Sessions, Visit
from keystead.developer_area.web.navigation import workspace_url
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.workspace.code_samples import push_lines, query_lines
from keystead.developer_area.workspace.contexts import QuickStartPage
from keystead.domain.scopes import KEYS_WRITE
from keystead.services import Services

_FIRST_COLLECTION: Final = "docs"


class QuickStart:
    """How a person gets from nothing to an answer."""

    def __init__(
        self, services: Services, render: Renderer, sessions: Sessions, *, base_url: str
    ) -> None:
        self._services = services
        self._render = render
        self._sessions = sessions
        self._base_url = base_url

    def index(self, visit: Visit) -> Response:
        """The three steps, in lines that work here as they stand."""
        acting = self._sessions.acting(visit)
        base, name = workspace_url(acting.workspace.id), self._collection(acting)
        used = self._services.keys.quota(acting.principal).used
        collection = name or _FIRST_COLLECTION
        whoami = shlex.quote(f"{self._base_url}/v1/whoami")
        page = QuickStartPage(
            frame=self._sessions.frame(visit, acting),
            keys=f"{used:,} active key" if used == 1 else f"{used:,} active keys",
            has_keys=used > 0,
            keys_url=acting.keys_url,
            new_key_url=f"{acting.keys_url}/new",
            may_create=KEYS_WRITE in set(acting.principal.scopes),
            whoami=f'curl -H "Authorization: Bearer $KEYSTEAD_TOKEN" {whoami}',
            collection=collection,
            is_new=name is None,
            collection_url=f"{base}/collections/{collection}",
            push=push_lines(self._base_url, collection, create=name is None),
            query=query_lines(self._base_url, collection),
            activity_url=f"{base}/activity",
        )
        return self._render(page)

    def _collection(self, acting: Acting) -> str | None:
        """The name of the newest collection; None where there is none."""
        found = self._services.documents.list_collections(acting.principal, limit=1).items
        return found[0].name if found else None
