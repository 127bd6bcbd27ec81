"""What all pages of API keys share: the services, who acts, and keys in words."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import datetime

from starlette.responses import Response

from keystead.developer_area.keys.contexts import (
    KeyCreatedBeforePage,
    KeyCreatedPage,
    KeyRow,
    LimitNotice,
)
from keystead.developer_area.keys.rows import key_row, limit_notice, quota_line
from keystead.developer_area.sign_in.session import Acting, Sessions, Visit
from keystead.developer_area.web.contexts import Frame, QuotaLine
from keystead.developer_area.web.render import Renderer
from keystead.domain.ids import KeyId
from keystead.domain.keys import ApiKey
from keystead.domain.plans import Quota
from keystead.domain.scopes import KEYS_WRITE
from keystead.services import Services
from keystead.services.keys import CreatedKey


class KeyDesk:
    """Where the pages of keys get what they show."""

    def __init__(
        self,
        services: Services,
        render: Renderer,
        sessions: Sessions,
        *,
        base_url: str,
        plans_url: str | None,
    ) -> None:
        self.services = services
        self.render = render
        self._sessions = sessions
        self._base_url = base_url
        self._plans_url = plans_url

    def acting(self, visit: Visit, *, to_change: bool = False) -> Acting:
        """The person in the workspace that the path names; Forbidden where they may change no keys and want to."""
        acting = self._sessions.acting(visit)
        if to_change:
            acting.principal.require(KEYS_WRITE)
        return acting

    def frame(self, visit: Visit, acting: Acting) -> Frame:
        """What surrounds the page."""
        return self._sessions.frame(visit, acting)

    def now(self) -> datetime:
        """The instant by which statuses are told."""
        return self.services.keys.now()

    def key(self, visit: Visit, acting: Acting) -> ApiKey:
        """The key that the path names; NotFound."""
        return self.services.keys.get(acting.principal, KeyId(visit.path("key_id")))

    def rows(self, acting: Acting, keys: Iterable[ApiKey], now: datetime) -> list[KeyRow]:
        """Keys as a list shows them. The hints of all successors come in one read."""
        listed = list(keys)
        successors = {key.rotated_to for key in listed if key.rotated_to is not None}
        hints = self.services.keys.hints(acting.principal, successors)
        catalog = self.services.keys.catalog
        return [key_row(key, acting, now, hints, catalog) for key in listed]

    def row(self, acting: Acting, key: ApiKey, now: datetime) -> KeyRow:
        """One of them."""
        return self.rows(acting, [key], now)[0]

    def quota(self, acting: Acting, quota: Quota | None = None) -> QuotaLine:
        """How much of the limit is used."""
        if quota is None:
            quota = self.services.keys.quota(acting.principal)
        return quota_line(quota, self.services.plans.get(acting.workspace.plan_id))

    def limit(self, acting: Acting, quota: QuotaLine, now: datetime) -> LimitNotice | None:
        """Why no key can be created now, and which cost least to revoke; None where there is room."""
        if not quota.is_full or not acting.principal.scopes.permit(KEYS_WRITE):
            return None
        candidates = self.services.keys.candidates(acting.principal)
        return limit_notice(quota, self.rows(acting, candidates, now), self._plans_url)

    def created(
        self, visit: Visit, acting: Acting, created: CreatedKey, replaced: str = ""
    ) -> Response:
        """The one answer that shows a token; where the same form came before, that its key exists."""
        row = self.row(acting, created.key, self.now())
        frame = self.frame(visit, acting)
        if created.token is None:
            page = KeyCreatedBeforePage(frame, row, acting.keys_url, f"{acting.keys_url}/new")
            return self.render(page)
        token = created.token.reveal()
        whoami = shlex.quote(f"{self._base_url}/v1/whoami")
        curl = f'curl -H "Authorization: Bearer {token}" {whoami}'
        return self.render(KeyCreatedPage(frame, row, token, curl, replaced, acting.keys_url), 201)
