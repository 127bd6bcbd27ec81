"""Revoking a key: the question, and the end."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from keystead.developer_area.keys.contexts import RevokeKeyPage
from keystead.developer_area.keys.rows import consequence
from keystead.developer_area.keys.shared import KeyDesk
from keystead.developer_area.redirects import see_other
from keystead.developer_area.sign_in.session import Acting, Visit
from keystead.domain.key_hygiene import is_in_use
from keystead.domain.keys import ApiKey, require_manager

CONFIRMATION: Final = "confirmation"
_LAST = 4


class KeyEnding:
    """The pages that end a key."""

    def __init__(self, desk: KeyDesk) -> None:
        self._desk = desk

    def ask(self, visit: Visit) -> Response:
        """The question before a key is revoked."""
        acting = self._desk.acting(visit, to_change=True)
        key = self._desk.key(visit, acting)
        require_manager(acting.principal, key)
        return self._question(visit, acting, key)

    def revoke(self, visit: Visit) -> Response:
        """Ends the key, and goes back to the table, which says so. A key in use only after its last four were typed."""
        acting = self._desk.acting(visit, to_change=True)
        key = self._desk.key(visit, acting)
        require_manager(acting.principal, key)
        if is_in_use(key, self._desk.now()) and not _is_confirmed(visit, key):
            problem = (
                f"Nothing was revoked. Type {_confirmation(key)} to revoke a key that is in use."
            )
            return self._question(visit, acting, key, problem)
        self._desk.services.keys.revoke(acting.principal, key.id, visit.origin)
        return see_other(f"{acting.keys_url}?{urlencode({'revoked': key.id})}")

    def _question(self, visit: Visit, acting: Acting, key: ApiKey, problem: str = "") -> Response:
        now = self._desk.now()
        page = RevokeKeyPage(
            frame=self._desk.frame(visit, acting),
            key=self._desk.row(acting, key, now),
            consequence=consequence(key, now),
            confirmation=_confirmation(key) if is_in_use(key, now) else "",
            problem=problem,
            keys_url=acting.keys_url,
        )
        return self._desk.render(page, 422 if problem else 200)


def _confirmation(key: ApiKey) -> str:
    return key.hint[-_LAST:]


def _is_confirmed(visit: Visit, key: ApiKey) -> bool:
    return visit.form.one(CONFIRMATION).strip() == _confirmation(key)
