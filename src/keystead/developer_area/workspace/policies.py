"""The policy of keys on the page of the plan: what holds, and the form of the owners' layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Choice
from keystead.developer_area.web.forms import Form
from keystead.developer_area.workspace.contexts import PolicyCard, PolicyNumber
from keystead.domain.policies import DAY_BOUNDS, Policy, PolicyLayers, describe
from keystead.domain.roles import Permission

LABELS: Final[Mapping[str, str]] = {
    "max_lifetime_days": "Longest lifetime",
    "default_lifetime_days": "Default lifetime",
    "end_unused_days": "Revoke unused keys after",
}
_HELP: Final[Mapping[str, str]] = {
    "max_lifetime_days": "Days from a key's creation to its expiry, at most. Keys must then expire.",
    "default_lifetime_days": "Days that a key lives if its creator names no expiry.",
    "end_unused_days": "Days without use. The owners are notified at least 14 days before.",
}
_EXPIRES: Final = "expiry_required"
_RENEWS_NOT: Final = "renewal_forbidden"


def policy_card(
    visit: MemberVisit,
    layers: PolicyLayers,
    entry: Form | None = None,
    problems: Mapping[str, str] | None = None,
) -> PolicyCard:
    """Return the policy for display; owners get a form of their layer, with what was entered if it was refused."""
    own = layers.owner
    texts = {name: str(value) for name, value in own.said().items()}
    checked = {_EXPIRES: bool(own.expiry_required), _RENEWS_NOT: own.renewal_allowed is False}
    if entry is not None:
        texts = {name: entry.one(name) for name in LABELS}
        checked = {name: bool(entry.one(name)) for name in checked}
    return PolicyCard(
        url=f"{visit.workspace_url}/plan/policy",
        holds=describe(layers.effective),
        may_set=visit.principal.may(Permission.SET_POLICY),
        is_bounded=bool(layers.plan.said() or layers.operator.said()),
        numbers=[
            PolicyNumber(name, label, _HELP[name], texts.get(name, ""), *DAY_BOUNDS[name])
            for name, label in LABELS.items()
        ],
        flags=[
            Choice(_EXPIRES, "Keys must expire", "", checked[_EXPIRES]),
            Choice(_RENEWS_NOT, "Keys can't renew themselves", "", checked[_RENEWS_NOT]),
        ],
        problems=problems or {},
    )


def policy_of(form: Form) -> Policy:
    """Return the layer that the form describes. Invalid, with the place of every refused number."""
    numbers = {name: _number(form.one(name).strip()) for name in LABELS}
    return Policy.of(
        numbers
        | {
            _EXPIRES: True if form.one(_EXPIRES) else None,
            "renewal_allowed": False if form.one(_RENEWS_NOT) else None,
        }
    )


def _number(text: str) -> int | str | None:
    """Return what was entered; the policy refuses what isn't a number."""
    if not text:
        return None
    return int(text) if len(text) <= 4 and text.isascii() and text.isdecimal() else text
