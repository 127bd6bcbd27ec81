"""What the templates of the workspace's pages are given: plan, activity, collections, quick start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.pages import Frame, Link


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One limit with its use. `state` is empty, `near` or `full`, which `text` and `note` say in words."""

    id: str
    name: str
    text: str
    note: str
    used: int
    limit: int | None
    state: str
    advice: Link | None


@dataclass(frozen=True, slots=True)
class PlanColumn:
    """One plan beside the others; `amounts` in the order of the page's `rows`."""

    name: str
    current: bool
    amounts: Sequence[str]


@dataclass(frozen=True, slots=True)
class PlansPage:
    """What the workspace may have, what it uses, and what other plans unlock."""

    template: ClassVar[str] = "plans.html"
    frame: Frame
    plan: str
    has_own_limits: bool
    uses: Sequence[LimitUse]
    rows: Sequence[str]
    plans: Sequence[PlanColumn]
    may_choose: bool
    plans_url: str | None
