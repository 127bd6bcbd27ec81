"""`keystead plans` and `keystead plan`: the plans of the installation, their file, and a workspace's own plan."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cyclopts import App

from keystead.cli import render
from keystead.cli.installation import note_rate_limits_off
from keystead.cli.options import ANYWHERE, Flag, Json, Where, Yes
from keystead.cli.outcome import Exit, Failure
from keystead.cli.server import DEFAULT_SERVER, Server, connected, operating
from keystead.domain.plan_changes import number_of
from keystead.domain.plans import LIMIT_NAMES
from keystead.domain.rate_limits import RATE_NAMES

if TYPE_CHECKING:
    from keystead.client import PlanWithLimits, Quota

app = App(name="plans", help="List plans and their limits, and change them with a file.")

CALLS: Final = "plans:PLANS"
LARGEST_FILE: Final = 64 * 1024


@app.command(name="list")
def list_(*, where: Where = ANYWHERE, json: Json = False) -> None:
    """List plans and their limits, from small to large."""
    with operating(where, CALLS) as operator:
        plans = operator.plans()
    if json:
        render.print_json_list(plans, None)
        return
    names = (*LIMIT_NAMES, *_rates_of(plans))
    headings = ("ID", "NAME", *(name.replace("_", " ").upper() for name in names))
    rows = [
        (plan.id, plan.name, *(number_of(own.get(name)) for name in names))
        for plan in plans
        for own in ({**plan.limits, **plan.rate_limits},)
    ]
    render.print_table(headings, rows)


@app.command
def apply(
    file: Path,
    /,
    *,
    dry_run: Flag = False,
    yes: Yes = False,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Replace all plans by those of a file: all of them, or none if there is an error.

    The file is TOML. It lists the plans from small to large; a limit that is
    left out is unlimited:

        [[plans]]
        id = "free"
        name = "Free"
        [plans.limits]
        api_keys = 5
        [plans.rate_limits]
        key_per_minute = 600
        [plans.policy]
        max_lifetime_days = 90

    Limits are api_keys, collections, documents, webhooks and members. A lowered
    limit only prevents new resources. Rate limits, in requests per minute, are
    workspace_per_minute and key_per_minute; they have an effect if servers
    have the setting rate_limits. A policy says what keys may be:
    max_lifetime_days, expiry_required, default_lifetime_days, end_unused_days
    and renewal_allowed. A plan in use can't be removed.

    Parameters
    ----------
    file
        The file of plans.
    dry_run
        Only check the file and show what would change.
    """
    new = _read(file)
    with operating(where, CALLS) as operator:
        report = operator.put_plans(new, dry_run=True)
        if not dry_run:
            if report.loosens and not yes:
                _confirm(report.changes)
            report = operator.put_plans(new, allow_loosening=True, if_match=report.etag)
    if any(_rates_of([plan]) for plan in report.items):
        note_rate_limits_off(where)
    if json:
        render.print_json(report)
        return
    for line in report.changes or ["No changes."]:
        render.print_line(line)
    render.note(
        "Nothing was saved (--dry-run)."
        if dry_run
        else f"Applied {render.counted(len(report.items), 'plan')}."
    )


def _confirm(differences: Sequence[str]) -> None:
    """Raise Failure unless the user agrees to changes that let workspaces do more than before."""
    if not render.is_interactive():
        raise Failure(
            "This removes a plan, raises a limit or loosens a policy. Pass --yes to confirm.",
            Exit.USAGE,
            {"code": "would-loosen", "title": "Limits would be loosened", "changes": differences},
        )
    for line in differences:
        render.note(line)
    if not render.confirmed("This removes a plan, raises a limit or loosens a policy. Apply it?"):
        raise Failure("Nothing was saved.")


def _rates_of(plans: Sequence[PlanWithLimits]) -> list[str]:
    """Return the rate limits that any plan has: most installations need no columns for them."""
    return [name for name in RATE_NAMES if any(plan.rate_limits.get(name) for plan in plans)]


def _read(file: Path) -> list[Mapping[str, Any]]:
    """Return the plans of a file as it has them; the API checks them. Failure unless it is a list of [[plans]]."""
    try:
        content = tomllib.loads(_text(file))
    except tomllib.TOMLDecodeError as error:
        raise Failure(f"{file} is not TOML: {error}.", Exit.USAGE) from None
    match content:
        case {"plans": [dict(), *_] as plans, **others} if not others:
            return [dict(plan) for plan in plans]
        case _:
            detail = f"{file} must have at least one [[plans]], and nothing else."
            raise Failure(detail, Exit.USAGE)


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened_file:
            data = opened_file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise Failure(f"{file} is too large for a file of plans.", Exit.USAGE)
        return data.decode("utf-8")
    except OSError as error:
        raise Failure(f"Can't read {file}: {error.strerror}.", Exit.USAGE) from None
    except UnicodeDecodeError:
        raise Failure(f"{file} is not UTF-8 text.", Exit.USAGE) from None


def plan(*, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Show the plan of the key's workspace, its limits and their use."""
    with connected(server) as client:
        use = client.plan()
    if json:
        render.print_json(use)
        return
    name = {"plan": f"{use.plan.name} ({use.plan.id})"}
    render.print_fields(name | bounds(use.quotas, {}))


def bounds(quotas: Mapping[str, Quota], overrides: Mapping[str, int | None]) -> dict[str, str]:
    """Return quotas for people: how much of how many, by the limit's name, and whether the limit is its own."""
    told = {}
    for name, quota in quotas.items():
        limit = "unlimited" if quota.limit is None else quota.limit
        own = " (its own)" if name in overrides else ""
        told[name.replace("_", " ")] = f"{quota.used} of {limit}{own}"
    return told
