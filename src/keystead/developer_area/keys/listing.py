"""The table of keys, and key hygiene: the keys that need review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from keystead.developer_area.keys.contexts import HygieneLine, KeysPage
from keystead.developer_area.keys.pages import KeyPages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Link, QuotaLine
from keystead.developer_area.web.navigation import pager, see_other, with_query
from keystead.domain.errors import InvalidCursor, NotFound
from keystead.domain.ids import KeyId, is_id
from keystead.domain.key_hygiene import HygieneFinding
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.plans import Quota
from keystead.domain.scopes import KEYS_WRITE
from keystead.domain.token import parse
from keystead.http.paging import Page

_MAX_QUERY: Final = 200


@dataclass(frozen=True, slots=True)
class _Show:
    """A filter of the table: its tab, and the statuses in order or the hygiene finding of its keys."""

    text: str
    statuses: tuple[KeyStatus, ...]
    finding: HygieneFinding | None = None


_TABS: Final[Mapping[str, _Show]] = {
    "": _Show("All", (KeyStatus.ACTIVE, KeyStatus.EXPIRED)),
    "active": _Show("Active", (KeyStatus.ACTIVE,)),
    "expired": _Show("Expired", (KeyStatus.EXPIRED,)),
    "history": _Show("Revoked", (KeyStatus.REVOKED,)),
}
_SHOWS: Final[Mapping[str, _Show]] = {
    **_TABS,
    **{finding.value: _Show("", (KeyStatus.ACTIVE,), finding) for finding in HygieneFinding},
}


@dataclass(frozen=True, slots=True)
class _Advice:
    """`one` and `many` follow the number of keys."""

    one: str
    many: str
    action: str
    reason: str


_ADVICE: Final[Mapping[HygieneFinding, _Advice]] = {
    HygieneFinding.EXPIRING: _Advice(
        "key expires within 14 days",
        "keys expire within 14 days",
        "Rotate before then",
        "Anything using them stops when they expire. Rotate them with an overlap and deploy the new keys.",
    ),
    HygieneFinding.NEVER_USED: _Advice(
        "key was never used in 30 days",
        "keys were never used in 30 days",
        "Revoke",
        "They were created at least 30 days ago and have never been used, so nothing will break.",
    ),
    HygieneFinding.UNUSED: _Advice(
        "key hasn't been used for 30 days",
        "keys haven't been used for 30 days",
        "Revoke if no longer needed",
        "A leak of an unused key can go unnoticed. Each key's page shows its recent callers.",
    ),
    HygieneFinding.OLD: _Advice(
        "key is older than a year",
        "keys are older than a year",
        "Rotate",
        "The longer a key lives, the more copies of it exist. Rotating makes all of them useless.",
    ),
    HygieneFinding.NEVER_EXPIRES: _Advice(
        "key never expires",
        "keys never expire",
        "Set an expiry",
        "They work until someone revokes them. Edit each key to set an expiry.",
    ),
}
"""The most urgent first."""


class KeyList(KeyPages):
    """The table of keys."""

    def show(self, visit: MemberVisit) -> Response:
        """Show active keys first, then expired ones. Revoked keys have their own tab."""
        name, query = visit.query("show"), visit.query("query").strip()[:_MAX_QUERY]
        if name not in _SHOWS:
            raise NotFound
        page = visit.page(str, show=name, query=query)
        token = parse(query)
        if token is not None:
            # The user pasted a whole token: replace the URL, so that it stays in no history and no log.
            return see_other(with_query(visit.keys_url, show=name, query=token.key_id))
        show, principal = _SHOWS[name], visit.principal
        keys, position, key_quota = self._keys(visit, show, query, page)
        quota = self._key_quota(visit, key_quota)
        counts = self._services.keys.count_hygiene_findings(principal, key_quota)
        context = KeysPage(
            frame=visit.frame(self._message(visit, quota)),
            quota=quota,
            limit=self._limit_notice(visit, quota),
            may_create=principal.scopes.permit(KEYS_WRITE),
            findings=[
                _hygiene_line(finding, counts[finding], visit)
                for finding in _ADVICE
                if counts.get(finding, 0)
            ],
            finding=None
            if show.finding is None
            else _hygiene_line(show.finding, counts.get(show.finding, 0), visit),
            shows=[
                Link(tab.text, with_query(visit.keys_url, show=value), value == name)
                for value, tab in _TABS.items()
            ],
            show=name,
            query=query,
            rows=self._rows(visit, keys),
            pages=pager(visit.keys_url, page, position, show=name, query=query),
        )
        return self._render(context)

    def _keys(
        self, visit: MemberVisit, show: _Show, query: str, page: Page[str]
    ) -> tuple[list[ApiKey], str | None, Quota]:
        """Return a page of keys, one status after the other, with the position of the next page and the quota.

        A position is the place of the status and the last id, such as `0:key_...`; without an id, the status's start.
        """
        place, before = _parse_position(page.after, show.statuses)
        keys: list[ApiKey] = []
        while True:
            part = self._services.keys.list(
                visit.principal,
                status=show.statuses[place],
                query=query,
                finding=show.finding,
                # At least 1: a full page still has to know if the next status has any key.
                limit=max(1, page.limit - len(keys)),
                before=before,
            )
            if len(keys) == page.limit:
                return keys, f"{place}:" if part.items else None, part.quota
            keys += part.items
            if part.next is not None:
                return keys, f"{place}:{part.next}", part.quota
            place, before = place + 1, None
            if place == len(show.statuses):
                return keys, None, part.quota

    def _message(self, visit: MemberVisit, quota: QuotaLine) -> str:
        """Return that a key was revoked if it is: a forged URL announces nothing."""
        key_id = visit.query("revoked")
        if not is_id("key", key_id):
            return ""
        try:
            key = self._services.keys.get(visit.principal, KeyId(key_id))
        except NotFound:
            return ""
        is_revoked = key.revoked_at is not None
        return f"“{key.description}” was revoked. {quota.text}." if is_revoked else ""


def _parse_position(after: str | None, statuses: Sequence[KeyStatus]) -> tuple[int, KeyId | None]:
    place, _, before = (after or "0:").partition(":")
    if place not in map(str, range(len(statuses))):
        raise InvalidCursor
    return int(place), KeyId(before) if before else None


def _hygiene_line(finding: HygieneFinding, count: int, visit: MemberVisit) -> HygieneLine:
    advice = _ADVICE[finding]
    text = f"{count} {advice.one if count == 1 else advice.many}"
    link = Link(text, with_query(visit.keys_url, show=finding))
    return HygieneLine(link, advice.action, advice.reason)
