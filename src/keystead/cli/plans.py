"""`keystead plans` and `keystead plan`: the plans of the installation, their file, and a workspace's own plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cyclopts import App

from keystead.cli import render, shapes
from keystead.cli.installation import note_rate_limits_off, opened
from keystead.cli.options import ANYWHERE, HERE, Flag, Json, Place, Where, Yes
from keystead.cli.outcome import Exit, Failure
from keystead.cli.plan_file import read_plans
from keystead.cli.server import DEFAULT_SERVER, Server, connected, operating, server_of
from keystead.cli.shapes import Shape
from keystead.domain.plan_changes import changes, loosens, number_of
from keystead.domain.plans import LIMIT_NAMES
from keystead.domain.rate_limits import NO_RATE_LIMITS, RATE_NAMES

if TYPE_CHECKING:
    from keystead.client import Quota

app = App(name="plans", help="List plans and their limits, and change them with a file.")

LARGEST_FILE: Final = 1024 * 1024


@app.command(name="list")
def list_(*, where: Where = ANYWHERE, json: Json = False) -> None:
    """List plans and their limits, from small to large."""
    plans = _plans(where)
    if json:
        render.print_json(shapes.listed(plans))
        return
    names = (*LIMIT_NAMES, *_rates_of(plans))
    headings = ("ID", "NAME", *(name.replace("_", " ").upper() for name in names))
    numbers = [{**plan["limits"], **plan["rate_limits"]} for plan in plans]
    rows = [
        (plan["id"], plan["name"], *(number_of(own.get(name)) for name in names))
        for plan, own in zip(plans, numbers, strict=True)
    ]
    render.print_table(headings, rows)


@app.command
def apply(
    file: Path,
    /,
    *,
    dry_run: Flag = False,
    yes: Yes = False,
    place: Place = HERE,
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
    new = read_plans(_text(file))
    with opened(place) as installation:
        plans = installation.services.plans
        current = plans.all()
        differences = changes(current, new)
        if not dry_run:
            if not yes and loosens(current, new):
                _confirm(differences)
            plans.apply(new)
        if any(plan.rate_limits != NO_RATE_LIMITS for plan in new):
            note_rate_limits_off(Where(place.data, place.database))
    if json:
        items = map(shapes.plan, new)
        render.print_json(shapes.listed(items, changes=differences, applied=not dry_run))
        return
    for line in differences or ["No changes."]:
        render.print_line(line)
    render.note(
        "Nothing was saved (--dry-run)."
        if dry_run
        else f"Applied {render.counted(len(new), 'plan')}."
    )


def _confirm(differences: list[str]) -> None:
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


def _plans(where: Where) -> list[Shape]:
    server = server_of(where)
    if server is not None:
        with operating(where) as operator:
            return [render.plain(plan) for plan in operator.plans()]

    with opened(where.place) as installation:
        return [shapes.plan(plan) for plan in installation.services.plans.all()]


def _rates_of(plans: list[Shape]) -> list[str]:
    """Return the rate limits that any plan has: most installations need no columns for them."""
    return [name for name in RATE_NAMES if any(plan["rate_limits"].get(name) for plan in plans)]


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
