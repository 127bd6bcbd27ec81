"""The list of keys: tabs, search, filters, order, and the keys that need a review."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from keystead.developer_area.keys.contexts import (
    Column,
    FilterPage,
    FirstRun,
    KeysPage,
    Review,
    Selection,
    Tab,
)
from keystead.developer_area.keys.list_state import CHANGED, LIST, ListState
from keystead.developer_area.keys.pages import KeyPages
from keystead.developer_area.keys.rows import ListRows
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Choice, Link, QuotaLine
from keystead.developer_area.web.labels import plural
from keystead.developer_area.web.navigation import pager, see_other, with_query
from keystead.domain.errors import NotFound
from keystead.domain.key_hygiene import HygieneFinding
from keystead.domain.key_lists import (
    COUNTED_KEYS,
    EXAMINED_KEYS,
    AccessKind,
    KeyCounts,
    KeyFilter,
    KeyOrder,
    LastUse,
)
from keystead.domain.keys import KeyStatus
from keystead.domain.scopes import KEYS_WRITE
from keystead.domain.token import parse
from keystead.services.key_lists import KeyListPage

_TABS: Final[Mapping[str, tuple[str, tuple[KeyStatus, ...]]]] = {
    "": ("All", (KeyStatus.ACTIVE, KeyStatus.EXPIRED)),
    "active": ("Active", (KeyStatus.ACTIVE,)),
    "expired": ("Expired", (KeyStatus.EXPIRED,)),
    "history": ("Revoked", (KeyStatus.REVOKED,)),
}
_ACCESS: Final[Mapping[str, str]] = {
    AccessKind.FULL: "Full access",
    AccessKind.READ_ONLY: "Read-only",
    AccessKind.CUSTOM: "Custom access",
}
_USES: Final[Mapping[str, str]] = {
    LastUse.DAY: "Used in the last 24 hours",
    LastUse.UNUSED: "Not used for 30 days",
    LastUse.NEVER: "Never used",
}


@dataclass(frozen=True, slots=True)
class _Advice:
    """`one` and `many` follow the number of keys."""

    one: str
    many: str
    reason: str


_ADVICE: Final[Mapping[HygieneFinding, _Advice]] = {
    HygieneFinding.EXPIRING: _Advice(
        "key expires within 14 days",
        "keys expire within 14 days",
        "Anything using them stops when they expire. Rotate them with an overlap and deploy the new keys.",
    ),
    HygieneFinding.OUTSIDE_POLICY: _Advice(
        "key is outside the policy",
        "keys are outside the policy",
        "They were created before the policy, and keep what they have. Set an earlier expiry, or rotate them.",
    ),
    HygieneFinding.NEVER_USED: _Advice(
        "key was never used in 30 days",
        "keys were never used in 30 days",
        "They were created at least 30 days ago and have never been used, so revoking them breaks nothing.",
    ),
    HygieneFinding.UNUSED: _Advice(
        "key hasn't been used for 30 days",
        "keys haven't been used for 30 days",
        "A leak of an unused key can go unnoticed. Revoke the keys that nothing needs.",
    ),
    HygieneFinding.OLD: _Advice(
        "key is older than a year",
        "keys are older than a year",
        "The longer a key lives, the more copies of it exist. Rotating makes all of them useless.",
    ),
    HygieneFinding.NEVER_EXPIRES: _Advice(
        "key never expires",
        "keys never expire",
        "They work until someone revokes them. Set an expiry.",
    ),
}
"""The most urgent first."""
_EMPTY: Final = {
    "": "No keys are active or expired.",
    "active": "No active keys.",
    "expired": "No expired keys.",
    "history": "No revoked keys.",
}


class KeyList(KeyPages):
    """The list of keys."""

    def show(self, visit: MemberVisit) -> Response:
        """Show active keys first, then expired ones, or another order. Revoked keys have their own tab."""
        state = ListState.of(visit.query)
        wanted = _filter_of(state)
        token = parse(state.query)
        if token is not None:
            # The user pasted a whole token: replace the URL, so that it stays in no history and no log.
            return see_other(state.first_page(query=token.key_id).url(visit.keys_url))
        page = visit.page(str, **state.filters)
        found = self._services.key_lists.page(visit.principal, wanted, page.limit, page.after)
        quota = QuotaLine.of(found.quota, "active key", found.plan)
        rows = ListRows(visit, found.now, visit.query(CHANGED), state)
        may_write = visit.principal.scopes.permit(KEYS_WRITE)
        review = None if wanted.finding is None else _review(wanted.finding, found.counts, visit)
        context = KeysPage(
            frame=visit.frame(),
            quota=quota,
            limit=self._limit_notice(visit, quota, with_query("", **{LIST: str(state)})),
            may_create=may_write,
            first_run=self._first_run(visit) if found.counts.are_none else None,
            reviews=[
                _review(each, found.counts, visit)
                for each in _ADVICE
                if may_write and found.counts.findings.get(each)
            ],
            review=review,
            tabs=tabs_of(state, found.counts, visit.keys_url),
            kept=_kept(state, "query"),
            query=state.query,
            filters=self._filters(visit, state),
            filter_url=with_query(f"{visit.keys_url}/filter", **{LIST: str(state)}),
            result=_result(state, wanted, found),
            columns=_columns(state, visit.keys_url),
            rows=rows.of(found.keys, found.hints),
            nothing=_nothing(state, wanted),
            selection=_selection(visit, state, wanted, review)
            if found.keys and may_write
            else None,
            state=str(state),
            pages=pager(visit.keys_url, page, found.next, **state.first_page().parameters()),
        )
        return self._render(context)

    def filter_form(self, visit: MemberVisit) -> Response:
        """Ask for filters by creator, access and last use."""
        state = ListState.carried(visit)
        creators = self._services.key_lists.creators(visit.principal)
        page = FilterPage(
            frame=visit.frame(),
            kept=_kept(state, "creator", "access", "used"),
            creators=_choices(
                "Anyone",
                {c.id: "You" if c.id == visit.user.id else c.name for c in creators},
                state.creator,
            ),
            accesses=_choices("Any access", _ACCESS, state.access),
            uses=_choices("Any time", _USES, state.used),
            back_url=state.url(visit.keys_url),
        )
        return self._render(page)

    def _first_run(self, visit: MemberVisit) -> FirstRun:
        whoami = shlex.quote(f"{self._base_url}/v1/whoami")
        example = (
            f'export API_KEY="your key"\ncurl {whoami} \\\n  -H "Authorization: Bearer $API_KEY"'
        )
        return FirstRun(example, f"{visit.workspace_url}/quick-start")

    def _filters(self, visit: MemberVisit, state: ListState) -> Sequence[Link]:
        """Return each filter as a link to the list without it."""
        texts = {"access": _ACCESS.get(state.access), "used": _USES.get(state.used)}
        if state.creator:
            texts["creator"] = f"Created by {self._creator_name(visit, state.creator)}"
        return [
            Link(text, state.first_page(**{name: ""}).url(visit.keys_url))
            for name, text in texts.items()
            if text
        ]

    def _creator_name(self, visit: MemberVisit, creator: str) -> str:
        if creator == visit.user.id:
            return "you"
        creators = self._services.key_lists.creators(visit.principal)
        return next((each.name for each in creators if each.id == creator), "someone else")


def _filter_of(state: ListState) -> KeyFilter:
    """Return what the state asks for. NotFound for a name that the page does not offer."""
    try:
        finding = None if state.show in _TABS else HygieneFinding(state.show)
        return KeyFilter(
            statuses=(KeyStatus.ACTIVE,) if finding else _TABS[state.show][1],
            query=state.query,
            finding=finding,
            order=KeyOrder(state.sort) if state.sort else None,
            creator=state.creator,
            access=AccessKind(state.access) if state.access else None,
            last_use=LastUse(state.used) if state.used else None,
        )
    except ValueError:
        raise NotFound from None


def tabs_of(state: ListState, counts: KeyCounts, keys_url: str) -> Sequence[Tab]:
    """Return the tabs, each with the number of its keys."""
    numbers = {
        "": _count(counts.active, counts.expired),
        "active": _count(counts.active),
        "expired": _count(0, counts.expired),
        "history": _count(0, counts.revoked),
    }
    return [
        Tab(text, numbers[name], with_query(keys_url, show=name), name == state.show)
        for name, (text, _) in _TABS.items()
    ]


def _count(active: int, ended: int = 0) -> str:
    """Return a number of keys, such as `1,024+` if more keys ended than are counted."""
    more = "+" if ended > COUNTED_KEYS else ""
    return f"{active + min(ended, COUNTED_KEYS):,}{more}"


def _review(finding: HygieneFinding, counts: KeyCounts, visit: MemberVisit) -> Review:
    advice, count = _ADVICE[finding], counts.findings.get(finding, 0)
    text = f"{count:,} {advice.one if count == 1 else advice.many}"
    link = Link(text, with_query(visit.keys_url, show=finding))
    return Review(link, advice.reason, finding is HygieneFinding.NEVER_EXPIRES)


def _kept(state: ListState, *without: str) -> Sequence[tuple[str, str]]:
    """Return the hidden fields of a form that changes a part of the state."""
    return [(n, v) for n, v in state.first_page().parameters().items() if n not in without]


def _columns(state: ListState, keys_url: str) -> Sequence[Column]:
    ends = "Revoked" if state.show == "history" else "Expires"
    return [
        _column("Created", "created", state, keys_url),
        _column("Last used", "used", state, keys_url),
        Column(ends, None, "") if ends == "Revoked" else _column(ends, "expires", state, keys_url),
    ]


def _column(text: str, name: str, state: ListState, keys_url: str) -> Column:
    """Return the head of a column: a link that sorts by it, the other way round if it does already."""
    descending = "" if name == "created" else f"-{name}"
    order = {name: "ascending", descending: "descending"}.get(state.sort, "")
    other = descending if order == "ascending" else name
    return Column(text, state.first_page(sort=other).url(keys_url), order)


def _result(state: ListState, wanted: KeyFilter, found: KeyListPage) -> str:
    """Return how many keys a search found, and whether not all were examined."""
    among = ""
    if wanted.is_examined and found.counts.active + found.counts.expired > EXAMINED_KEYS:
        among = f"among the newest {EXAMINED_KEYS:,} keys"
    if not state.is_filtered:
        return among.capitalize()
    keys = plural(len(found.keys), "key")
    if found.next is not None:
        keys = f"More than {keys}"
    if state.query:
        return f"{keys} for “{state.query}” {among}".rstrip()
    return f"{keys} found {among}".rstrip()


def _nothing(state: ListState, wanted: KeyFilter) -> str:
    """Return why the list is empty."""
    if state.query:
        return f"No key matches “{state.query}”."
    if state.is_filtered:
        return "No key matches these filters."
    return "All done: no key needs this review." if wanted.finding else _EMPTY[state.show]


def _selection(
    visit: MemberVisit, state: ListState, wanted: KeyFilter, review: Review | None
) -> Selection | None:
    """Return the bar of the checked keys, None if no key can be revoked."""
    if KeyStatus.REVOKED in wanted.statuses:
        return None
    if review is None or state.is_filtered or not visit.principal.manages_every_key:
        return Selection("", "", review is not None and review.sets_expiry)
    count = review.link.text.partition(" ")[0]
    return Selection(f"Select all {count}", state.show, review.sets_expiry)


def _choices(nothing: str, texts: Mapping[str, str], chosen: str) -> Sequence[Choice]:
    """Return the options of a filter."""
    options = {"": nothing, **texts}
    return [Choice(value, text, "", value == chosen) for value, text in options.items()]
