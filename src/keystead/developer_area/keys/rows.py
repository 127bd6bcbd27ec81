"""Keys as text: their rows in lists, and what questions about them say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from keystead.developer_area.keys.contexts import KeyRow, LimitNotice, ListRow, SelectedKey
from keystead.developer_area.keys.list_state import LIST, ListState
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Link, QuotaLine
from keystead.developer_area.web.labels import plural
from keystead.developer_area.web.navigation import with_query
from keystead.developer_area.web.timestamps import exact, relative, short_date
from keystead.domain.ids import KeyId
from keystead.domain.instants import to_microseconds
from keystead.domain.key_hygiene import is_in_use
from keystead.domain.keys import ApiKey, KeyStatus, KeyUse
from keystead.domain.principals import Actor, Principal, PrincipalKind
from keystead.domain.scopes import EVERYTHING, KEYS_WRITE, ScopeCatalog, Scopes

_READ_ONLY: Final = {ScopeCatalog().read_only, ScopeCatalog(has_documents=False).read_only}


def key_row(
    key: ApiKey,
    visit: MemberVisit,
    now: datetime,
    hints: Mapping[KeyId, str],
    query: str = "",
) -> KeyRow:
    """Return `key` for display. `hints` holds the hint of its successor; `query` ends the URLs of its pages."""
    use, url = key.last_use, f"{visit.keys_url}/{key.id}"
    changeable = key.revoked_at is None and may_change(key, visit.principal)
    return KeyRow(
        id=key.id,
        url=f"{url}{query}",
        description=key.description,
        hint=key.hint,
        status=key.status(now),
        created=visit.timestamp(key.created_at),
        created_by=actor_label(key.created_by, visit.principal),
        creator_left=key.creator_left,
        last_used=visit.timestamp(use.at if use else None),
        last_used_by=source_of(use) if use else "",
        expires=visit.timestamp(key.expires_at),
        revoked=visit.timestamp(key.revoked_at),
        networks=list(key.networks),
        metadata=list(key.metadata.items()),
        stored_in=key.stored_in,
        renews=key.renewal is not None,
        renews_until=visit.timestamp(key.renewal.until if key.renewal else None),
        rotation=_rotation(key, now),
        successor=_successor(key, visit, hints),
        rotate_url=f"{url}/rotate{query}" if changeable and key.counts(now) else None,
        edit_url=f"{url}/edit{query}" if changeable else None,
        revoke_url=f"{url}/revoke{query}" if changeable else None,
    )


class ListRows:
    """Makes the rows of the list: each value once, since a page has many of them."""

    def __init__(self, visit: MemberVisit, now: datetime, changed: str, state: ListState) -> None:
        """`changed` is the id of the key whose row is highlighted, `state` what each key's page leads back to."""
        self._principal = visit.principal
        self._manages_all = visit.principal.manages_every_key
        self._writes = visit.principal.scopes.permit(KEYS_WRITE)
        self._keys_url, self._zone, self._now, self._changed = (
            visit.keys_url,
            visit.zone,
            now,
            changed,
        )
        self._query = with_query("", **{LIST: str(state)})
        self._access: dict[Scopes, str] = {}

    def of(self, keys: Iterable[ApiKey], hints: Mapping[KeyId, str]) -> list[ListRow]:
        """Return the rows of `keys`. `hints` holds the hints of their successors."""
        return [self._row(key, hints) for key in keys]

    def _row(self, key: ApiKey, hints: Mapping[KeyId, str]) -> ListRow:
        status, use = key.status(self._now), key.last_use
        prefix, _, last_four = key.hint.rpartition("…")
        creator = actor_label(key.created_by, self._principal)
        ends = key.revoked_at or key.expires_at
        successor = key.rotated_to
        return ListRow(
            id=key.id,
            url=f"{self._keys_url}/{key.id}{self._query}",
            description=key.description,
            access=self._access_text(key.scopes),
            prefix=prefix,
            last_four=last_four,
            created=relative(key.created_at, self._now),
            created_exact=exact(key.created_at, self._zone),
            creator=f"by {creator} (left)" if key.creator_left else f"by {creator}",
            used=relative(use.at, self._now) if use else "",
            used_from=(use.address or "") if use else "",
            used_exact=f"{exact(use.at, self._zone)} {source_of(use)}".rstrip() if use else "",
            ends=relative(ends, self._now) if ends else "",
            ends_on=short_date(ends, self._zone) if ends else "",
            ends_exact=exact(ends, self._zone) if ends else "",
            status=status,
            status_text=status.capitalize(),
            successor=Link(hints[successor], f"{self._keys_url}/{successor}")
            if successor
            else None,
            acts=self._acts(key),
            is_changed=key.id == self._changed,
        )

    def _acts(self, key: ApiKey) -> str:
        """Return the pages of the key that the member may open, the most frequent first."""
        may = self._writes and (self._manages_all or self._principal.may_manage(key.created_by))
        if not may or key.revoked_at is not None:
            return ""
        return "rotate edit revoke" if key.counts(self._now) else "edit revoke"

    def _access_text(self, scopes: Scopes) -> str:
        text = self._access.get(scopes)
        if text is None:
            text = self._access[scopes] = short_access(scopes)
        return text


def short_access(scopes: Scopes) -> str:
    """Return scopes on one line."""
    if scopes in _READ_ONLY:
        return "Read-only"
    return ", ".join("Full access" if scope == EVERYTHING else scope for scope in scopes)


def limit_notice(quota: QuotaLine, candidates: list[KeyRow]) -> LimitNotice:
    """Return why no key can be created now."""
    reason = (
        f"The {quota.plan} plan allows {plural(quota.limit or 0, 'active key')}, and {quota.used:,}"
        f" {'is' if quota.used == 1 else 'are'} in use."
    )
    return LimitNotice(reason, candidates)


def revoke_consequence(key: ApiKey, now: datetime) -> str:
    """Return what revoking the key breaks."""
    if key.status(now) is KeyStatus.EXPIRED:
        return "This key has expired, so anything using it has already stopped."
    if key.last_use is None:
        return "This key has never been used, so nothing will break."
    source = f" {source_of(key.last_use)}".rstrip()
    last_use = relative(key.last_use.at, now)
    return f"Last used {last_use}{source}. Anything using it will stop immediately."


def consequence_of(in_use: int) -> str:
    """Return what revoking several keys breaks, of which so many are in use."""
    if not in_use:
        return "None of them was used in the last 24 hours."
    return f"{in_use:,} of them {_was(in_use)} used in the last 24 hours. Anything using them will stop immediately."


def selected_keys(keys: Sequence[ApiKey], now: datetime) -> Sequence[SelectedKey]:
    """Return the keys for the question: those in use first, the last used at the top."""
    ordered = sorted(keys, key=lambda key: (not is_in_use(key, now), -_used_at(key)))
    return [
        SelectedKey(
            key.description,
            key.hint,
            f"last used {relative(key.last_use.at, now)}" if key.last_use else "never used",
            is_in_use(key, now),
        )
        for key in ordered
    ]


def were(count: int) -> str:
    """Return, for example, `2 keys were`."""
    return f"{plural(count, 'key')} {_was(count)}"


def first_use(key: ApiKey, now: datetime) -> str:
    """Return, for example, `First request: just now from 10.2.3.4 (curl)`; empty if there was none."""
    if key.last_use is None:
        return ""
    use = replace(key.last_use, agent=(key.last_use.agent or "").partition("/")[0])
    return f"First request: {relative(use.at, now)} {source_of(use)}".rstrip()


def _used_at(key: ApiKey) -> int:
    return to_microseconds(key.last_use.at) if key.last_use else 0


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def may_change(key: ApiKey, principal: Principal) -> bool:
    """Return whether the principal may change or revoke the key."""
    return principal.scopes.permit(KEYS_WRITE) and principal.may_manage(key.created_by)


def actor_label(actor: Actor, principal: Principal) -> str:
    """Return who acted, `you` for the member who looks."""
    match actor.kind:
        case PrincipalKind.MEMBER:
            return "you" if actor.id == principal.id else actor.name
        case PrincipalKind.KEY:
            return f"the key {actor.name}"
        case _:
            return actor.name


def source_of(use: KeyUse) -> str:
    """Return the known parts of, for example, `from 10.2.3.4 (python-requests/2.32)`."""
    address = f"from {use.address}" if use.address else ""
    agent = f"({use.agent})" if use.agent else ""
    return " ".join(filter(None, (address, agent)))


def _rotation(key: ApiKey, now: datetime) -> str:
    if key.rotated_to is None:
        return ""
    if key.status(now) is KeyStatus.ACTIVE and key.expires_at is not None:
        return f"expires {relative(key.expires_at, now)}, rotated to"
    return "rotated to"


def _successor(key: ApiKey, visit: MemberVisit, hints: Mapping[KeyId, str]) -> Link | None:
    if key.rotated_to is None:
        return None
    return Link(hints[key.rotated_to], f"{visit.keys_url}/{key.rotated_to}")
