"""Keys as lists and pages show them: every value in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from keystead.developer_area.key_story import maker_words
from keystead.developer_area.keys.contexts import KeyRow, LimitNotice
from keystead.developer_area.sign_in.session import Acting
from keystead.developer_area.web.contexts import Choice, Link, Moment, QuotaLine
from keystead.developer_area.web.times import moment, relative
from keystead.domain.ids import KeyId
from keystead.domain.keys import ApiKey, KeyStatus, KeyUse
from keystead.domain.plans import Plan, Quota
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVERYTHING, KEYS_WRITE, ScopeCatalog, Scopes


def key_row(
    key: ApiKey, acting: Acting, now: datetime, hints: Mapping[KeyId, str], catalog: ScopeCatalog
) -> KeyRow:
    """`key` as the acting person sees it at `now`; `hints` holds that of its successor."""
    status, use, url = key.status(now), key.last_use, f"{acting.keys_url}/{key.id}"
    changeable = key.revoked_at is None and may_revoke(key, acting.principal)
    return KeyRow(
        id=key.id,
        url=url,
        description=key.description,
        hint=key.hint,
        status=status,
        access=access_of(key.scopes, catalog),
        created=moment(key.created_at, now, acting.zone),
        created_by=maker_words(key.created_by, acting.principal),
        creator_left=key.creator_left,
        last_used=_moment(use.at if use else None, now, acting.zone),
        last_used_by=_caller(use) if use else "",
        expires=_moment(key.expires_at, now, acting.zone),
        revoked=_moment(key.revoked_at, now, acting.zone),
        ending=_ending(key, now),
        successor=_successor(key, acting, hints),
        rotate_url=f"{url}/rotate" if changeable and key.counts(now) else None,
        edit_url=f"{url}/edit" if changeable else None,
        revoke_url=f"{url}/revoke" if changeable else None,
    )


def access_of(scopes: Scopes, catalog: ScopeCatalog) -> Sequence[Choice]:
    """Return every scope with what it allows; one that the settings no longer name has no words."""
    words = catalog.descriptions()
    named = {EVERYTHING: "Full access"}
    return [Choice(scope, named.get(scope, scope), words.get(scope, "")) for scope in scopes]


def may_revoke(key: ApiKey, principal: Principal) -> bool:
    """Whether the person may end this key."""
    return principal.scopes.permit(KEYS_WRITE) and principal.may_manage(key.created_by)


def quota_line(quota: Quota, plan: Plan) -> QuotaLine:
    """Such as `3 of 5 active keys`."""
    keys = "key" if (quota.limit or quota.used) == 1 else "keys"
    of = "" if quota.limit is None else f" of {quota.limit}"
    return QuotaLine(f"{quota.used}{of} active {keys}", quota.used, quota.limit, plan.name)


def limit_notice(quota: QuotaLine, candidates: list[KeyRow], plans_url: str | None) -> LimitNotice:
    """Why no key can be created now."""
    reason = (
        f"The plan {quota.plan} allows {quota.limit} active {'key' if quota.limit == 1 else 'keys'},"
        f" and {quota.used} {'is' if quota.used == 1 else 'are'} in use. Revoke one to make room."
    )
    return LimitNotice(reason, candidates, plans_url)


def consequence(key: ApiKey, now: datetime) -> str:
    """What revoking the key does to those who use it."""
    if key.status(now) is KeyStatus.EXPIRED:
        return "It has expired: nothing that uses it works any more."
    if key.last_use is None:
        return "Never used: no code stops."
    use = key.last_use
    by = f" {_caller(use)}" if _caller(use) else ""
    return f"Used {relative(use.at, now)}{by}: code that uses it stops at once."


def _moment(instant: datetime | None, now: datetime, zone: tzinfo) -> Moment | None:
    return None if instant is None else moment(instant, now, zone)


def _caller(use: KeyUse) -> str:
    """Such as `from 10.2.3.4 (python-requests/2.32)`, as far as it is known."""
    address = f"from {use.address}" if use.address else ""
    agent = f"({use.agent})" if use.agent else ""
    return " ".join(filter(None, (address, agent)))


def _ending(key: ApiKey, now: datetime) -> str:
    if key.rotated_to is None:
        return ""
    if key.status(now) is KeyStatus.ACTIVE and key.expires_at is not None:
        return f"ends {relative(key.expires_at, now)}, rotated to"
    return "rotated to"


def _successor(key: ApiKey, acting: Acting, hints: Mapping[KeyId, str]) -> Link | None:
    if key.rotated_to is None:
        return None
    return Link(hints[key.rotated_to], f"{acting.keys_url}/{key.rotated_to}")
