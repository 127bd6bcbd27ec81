"""Keys as lists and pages show them: every value in words."""

from __future__ import annotations

from datetime import datetime

from keystead.developer_area.moments import moment, relative
from keystead.developer_area.pages import KeyRow, LimitNotice, Moment, QuotaLine
from keystead.developer_area.session import Acting
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.plans import Plan, Quota
from keystead.domain.principals import Actor, Principal, PrincipalKind
from keystead.domain.scopes import KEYS_WRITE


def key_row(key: ApiKey, acting: Acting, now: datetime) -> KeyRow:
    """`key` as the acting person sees it at `now`."""
    use = key.last_use
    return KeyRow(
        id=key.id,
        description=key.description,
        hint=key.hint,
        status=key.status(now),
        scopes=list(key.scopes),
        created=moment(key.created_at, now),
        created_by=_maker(key.created_by, acting.principal),
        last_used=_moment(use.at if use else None, now),
        last_used_by=" · ".join(filter(None, (use.address, use.agent))) if use else "",
        expires=_moment(key.expires_at, now),
        revoked=_moment(key.revoked_at, now),
        note="rotated" if key.rotated_to is not None else "",
        revoke_url=_revoke_url(key, acting),
    )


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
    by = f" from {use.address}" if use.address else ""
    agent = f" ({use.agent})" if use.agent else ""
    return f"Used {relative(use.at, now)}{by}{agent}: code that uses it stops at once."


def _moment(instant: datetime | None, now: datetime) -> Moment | None:
    return None if instant is None else moment(instant, now)


def _maker(maker: Actor, principal: Principal) -> str:
    match maker.kind:
        case PrincipalKind.MEMBER:
            return "you" if maker.id == principal.id else maker.name
        case PrincipalKind.KEY:
            return f"the key {maker.name}"
        case _:
            return maker.name


def _revoke_url(key: ApiKey, acting: Acting) -> str | None:
    if key.revoked_at is not None or not may_revoke(key, acting.principal):
        return None
    return f"{acting.keys_url}/{key.id}/revoke"
