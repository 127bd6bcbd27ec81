"""Calls of the Operator API for the plans of the installation."""

from __future__ import annotations

from typing import Final

from keystead.api.bodies.plans import PutPlans
from keystead.api.calls import OperatorCall
from keystead.api.operations import OPERATOR, Operations, Reply, in_query
from keystead.domain.errors import WouldLoosen
from keystead.domain.plan_changes import version_of
from keystead.wire.operator import PlanList, PlanReport, PlanWithLimits

PLANS: Final = Operations("/operator/v1/plans", "plans", OPERATOR)


@PLANS.call("GET", "", "List plans", has_etag=True)
def list_plans(call: OperatorCall) -> Reply[PlanList]:
    """Return all plans, from small to large. The list has a version as a whole."""
    plans = call.services.plans.all()
    items = list(map(PlanWithLimits.of, plans))
    return Reply(PlanList(items=items, next_cursor=None), version_of(plans))


@PLANS.call(
    "PUT",
    "",
    "Replace all plans",
    query=(
        in_query("dry_run", "`true`: return what would change, and change nothing.", bool),
        in_query("allow_loosening", "`true`: apply also what lets workspaces do more.", bool),
    ),
    refusals=(WouldLoosen,),
    if_match=True,
    has_etag=True,
)
def put_plans(
    call: OperatorCall, body: PutPlans, dry_run: bool = False, allow_loosening: bool = False
) -> Reply[PlanReport]:
    """Replace all plans by these: all of them, or none if there is an error. A plan in use can't be missing.

    A lowered limit only prevents new resources. `would-loosen`: it removes a plan, raises a limit or loosens a policy;
    `changes` has the differences, and `allow_loosening=true` applies them.
    """
    changes = call.services.plans.apply(
        body.all(),
        call.credential.actor,
        call.origin,
        allow_loosening=allow_loosening,
        dry_run=dry_run,
        if_match=call.if_match,
    )
    plans = call.services.plans.all()
    report = PlanReport(
        items=list(map(PlanWithLimits.of, changes.plans)),
        changes=list(changes.lines),
        loosens=changes.loosens,
        applied=not dry_run,
    )
    return Reply(report, version_of(plans))
