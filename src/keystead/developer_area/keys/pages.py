"""The base of the pages of API keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.responses import Response

from keystead.developer_area.keys.access import present_sentence
from keystead.developer_area.keys.contexts import (
    KeyCreatedBeforePage,
    KeyCreatedPage,
    KeyRow,
    LimitNotice,
)
from keystead.developer_area.keys.list_state import CHANGED, FROM, KEY_PAGE, LIST, ListState
from keystead.developer_area.keys.rows import key_row, limit_notice
from keystead.developer_area.sign_in.session import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import QuotaLine
from keystead.developer_area.web.navigation import with_query
from keystead.developer_area.workspace.code_samples import CodeSamples
from keystead.domain.ids import KeyId
from keystead.domain.keys import ApiKey, require_manager
from keystead.domain.plans import Quota
from keystead.domain.policies import Policy
from keystead.domain.scopes import KEYS_WRITE
from keystead.services.key_issuer import CreatedKey

LIKE: Final = "like"
"""The parameter of the form of a new key that names the key to begin with."""
FAMILY: Final = "family"
"""The parameter and the field that revoke a key's whole family."""


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

    def _policy(self, visit: MemberVisit) -> Policy:
        """Return the policy that holds for the workspace's keys."""
        return self._services.policies.get(visit.principal).effective

    def _rows(
        self, visit: MemberVisit, keys: Iterable[ApiKey], query: str | None = None
    ) -> list[KeyRow]:
        """Return keys for display. The hints of all successors come from one read.

        `query` ends the URLs of their pages: by default it carries the list that led to this page.
        """
        keys = list(keys)
        query = carried_query(visit) if query is None else query
        successors = {key.rotated_to for key in keys if key.rotated_to is not None}
        hints = self._services.keys.hints(visit.principal, successors)
        now = visit.now()
        return [key_row(key, visit, now, hints, query) for key in keys]

    def _row(self, visit: MemberVisit, key: ApiKey, query: str | None = None) -> KeyRow:
        return self._rows(visit, [key], query)[0]

    def _back_url(self, visit: MemberVisit, key: ApiKey) -> str:
        """Return the page that a question about a key was asked on."""
        state = ListState.carried(visit)
        if is_from_key_page(visit):
            return with_query(f"{visit.keys_url}/{key.id}", **{LIST: str(state)})
        return state.url(visit.keys_url)

    def _key_quota(self, visit: MemberVisit, quota: Quota) -> QuotaLine:
        plan = self._services.plans.get(visit.workspace.plan_id)
        return QuotaLine.of(quota, "active key", plan.name)

    def _limit_notice(
        self, visit: MemberVisit, quota: QuotaLine, query: str | None = None
    ) -> LimitNotice | None:
        """Return why no key can be created and which are safest to revoke; None if there is room."""
        if not quota.is_full or not visit.principal.scopes.permit(KEYS_WRITE):
            return None
        candidates = self._services.keys.candidates(visit.principal)
        return limit_notice(quota, self._rows(visit, candidates, query))

    def _created(
        self, visit: MemberVisit, created: CreatedKey, state: ListState, replaced: str = ""
    ) -> Response:
        """Show a token, in this response only. A form that arrives again gets the key without its token."""
        row, frame = self._row(visit, created.key), visit.frame()
        if created.token is None:
            return self._render(KeyCreatedBeforePage(frame, row))
        token = created.token.reveal()
        forms = CodeSamples(self._base_url, self._product).key(token)
        done_url = state.url(visit.keys_url, **{CHANGED: created.key.id})
        access = present_sentence(created.key.scopes, self._services.keys.catalog)
        page = KeyCreatedPage(frame, row, access, token, forms, replaced, done_url)
        return self._render(page, 201)


def carried_query(visit: MemberVisit) -> str:
    """Return the query that carries the list that led to this page, and whether one key's page was in between."""
    state = str(ListState.carried(visit))
    return with_query("", **{LIST: state, FROM: KEY_PAGE if is_from_key_page(visit) else ""})


def is_from_key_page(visit: MemberVisit) -> bool:
    """Return whether the request was made on the page of one key."""
    return visit.query(FROM) == KEY_PAGE
