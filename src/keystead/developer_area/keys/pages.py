"""The base of the pages of API keys."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterable

from starlette.responses import Response

from keystead.developer_area.keys.contexts import (
    KeyCreatedBeforePage,
    KeyCreatedPage,
    KeyRow,
    LimitNotice,
)
from keystead.developer_area.keys.rows import key_row, limit_notice
from keystead.developer_area.sign_in.session import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import QuotaLine
from keystead.domain.ids import KeyId
from keystead.domain.keys import ApiKey, require_manager
from keystead.domain.plans import Quota
from keystead.domain.scopes import KEYS_WRITE
from keystead.services.keys import CreatedKey


class KeyPages(WorkspacePages):
    """Base of the handlers of keys."""

    def _key(self, visit: MemberVisit) -> ApiKey:
        """Return the key in the path. NotFound."""
        return self._services.keys.get(visit.principal, KeyId(visit.path("key_id")))

    def _managed_key(self, visit: MemberVisit) -> ApiKey:
        """Return the key in the path, which the member wants to change. Forbidden, NotFound."""
        visit.principal.require(KEYS_WRITE)
        key = self._key(visit)
        require_manager(visit.principal, key)
        return key

    def _rows(self, visit: MemberVisit, keys: Iterable[ApiKey]) -> list[KeyRow]:
        """Return keys for display. The hints of all successors come from one read."""
        keys = list(keys)
        successors = {key.rotated_to for key in keys if key.rotated_to is not None}
        hints = self._services.keys.hints(visit.principal, successors)
        catalog, now = self._services.keys.catalog, visit.now()
        return [key_row(key, visit, now, hints, catalog) for key in keys]

    def _row(self, visit: MemberVisit, key: ApiKey) -> KeyRow:
        return self._rows(visit, [key])[0]

    def _key_quota(self, visit: MemberVisit, quota: Quota) -> QuotaLine:
        plan = self._services.plans.get(visit.workspace.plan_id)
        return QuotaLine.of(quota, "active key", plan.name)

    def _limit_notice(self, visit: MemberVisit, quota: QuotaLine) -> LimitNotice | None:
        """Return why no key can be created and which are safest to revoke; None if there is room."""
        if not quota.is_full or not visit.principal.scopes.permit(KEYS_WRITE):
            return None
        candidates = self._services.keys.candidates(visit.principal)
        return limit_notice(quota, self._rows(visit, candidates))

    def _created(self, visit: MemberVisit, created: CreatedKey, replaced: str = "") -> Response:
        """Show a token, in this response only. A form that arrives again gets the key without its token."""
        row, frame = self._row(visit, created.key), visit.frame()
        if created.token is None:
            return self._render(KeyCreatedBeforePage(frame, row))
        token = created.token.reveal()
        whoami = shlex.quote(f"{self._base_url}/v1/whoami")
        curl = f'curl -H "Authorization: Bearer {token}" {whoami}'
        return self._render(KeyCreatedPage(frame, row, token, curl, replaced), 201)


def new_nonce() -> str:
    """Return a form's nonce: the key is created or rotated once, however often the form arrives."""
    return secrets.token_urlsafe(16)
