"""Calls of the Operator API for the plans of the installation."""

from __future__ import annotations

from typing import Final

from keystead.api.calls import OperatorCall
from keystead.api.operations import OPERATOR, Operations, Reply
from keystead.wire.operator import PlanList, PlanWithLimits

PLANS: Final = Operations("/operator/v1/plans", "plans", OPERATOR)


@PLANS.call("GET", "", "List plans")
def list_plans(call: OperatorCall) -> Reply[PlanList]:
    """Return all plans, from small to large. `keystead plans apply` changes them."""
    plans = [PlanWithLimits.of(plan) for plan in call.services.plans.all()]
    return Reply(PlanList(items=plans, next_cursor=None))
