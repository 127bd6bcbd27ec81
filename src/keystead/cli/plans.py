"""`keystead plans`: which plans there are, on this machine or at a server; here, a file that sets them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from keystead.cli import render, shapes
from keystead.cli.options import Json, Place, Where
from keystead.cli.outcome import Exit, Failure
from keystead.cli.server import Server, connected, operating, server_of
from keystead.cli.shapes import Shape

app = App(name="plans", help="See the plans and their limits; change them by a file.")

HERE: Final = Place()
ANYWHERE: Final = Where()
USUAL: Final = Server()
LARGEST_FILE: Final = 1024 * 1024


@app.command(name="list")
def list_(*, where: Where = ANYWHERE, json: Json = False) -> None:
    """List the plans, from small to large, with their limits."""
    from keystead.cli.plan_file import number_of
    from keystead.domain.plans import LIMIT_NAMES

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
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """Replace all plans by those of a file, whole or not at all.

    The file is TOML. It lists the plans from small to large; a limit that is
    left out is unlimited:

        [[plans]]
        id = "free"
        name = "Free"
        [plans.limits]
        api_keys = 5
        [plans.rate_limits]
        key_per_minute = 600

    Limits are api_keys, collections, documents, webhooks and members. A lowered
    limit stops creation only. Rate limits, in requests a minute, are
    workspace_per_minute and key_per_minute; they have an effect if servers
    have the setting rate_limits. A plan in use can't be removed.

    Parameters
    ----------
    file
        The file of plans.
    dry_run
        Only check the file, and show what would change.
    yes
        Remove plans and raise limits without asking, as scripts must.
    """
    from keystead.cli.installation import note_rate_limits_off, opened
    from keystead.cli.plan_file import changes, loosens, read_plans
    from keystead.domain.rate_limits import NO_RATE_LIMITS

    wanted = read_plans(_text(file))
    with opened(place) as installation:
        plans = installation.services.plans
        present = plans.all()
        changed = changes(present, wanted)
        if not dry_run:
            if not yes and loosens(present, wanted):
                _ask(changed)
            plans.apply(wanted)
        if any(plan.rate_limits != NO_RATE_LIMITS for plan in wanted):
            note_rate_limits_off(installation.settings)
    if json:
        items = map(shapes.plan, wanted)
        render.print_json(shapes.listed(items, changes=changed, applied=not dry_run))
        return
    for line in changed or ["Nothing changes."]:
        render.print_line(line)
    render.note(
        "Nothing was written (--dry-run)."
        if dry_run
        else f"Applied {render.counted(len(wanted), 'plan')}."
    )


def _ask(changed: list[str]) -> None:
    """Failure unless a person at the terminal agrees to what lets workspaces do more than before."""
    if not render.has_person():
        raise Failure(
            "This removes a plan or raises a limit. Pass --yes to confirm.",
            Exit.USAGE,
            {"code": "would-loosen", "title": "Limits would be loosened", "changes": changed},
        )
    for line in changed:
        render.note(line)
    if not render.confirmed("This removes a plan or raises a limit. Apply it?"):
        raise Failure("Nothing was written.")


def _plans(where: Where) -> list[Shape]:
    server = server_of(where)
    if server is not None:
        with operating(server) as operator:
            return [shapes.answered(plan) for plan in operator.plans()]
    from keystead.cli.installation import opened

    with opened(where.place) as installation:
        return [shapes.plan(plan) for plan in installation.services.plans.all()]


def _rates_of(plans: list[Shape]) -> list[str]:
    """The rate limits that any plan has: most installations have none, and need no columns for them."""
    from keystead.domain.rate_limits import RATE_NAMES

    return [name for name in RATE_NAMES if any(plan["rate_limits"].get(name) for plan in plans)]


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened_file:
            data = opened_file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise Failure(f"{file} is too large for a file of plans.", Exit.USAGE)
        return data.decode("utf-8")
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}.", Exit.USAGE) from None
    except UnicodeDecodeError:
        raise Failure(f"{file} is not UTF-8.", Exit.USAGE) from None


def plan(*, server: Server = USUAL, json: Json = False) -> None:
    """Say what the plan of the key's workspace allows, and how much of it is used."""
    with connected(server) as client:
        found = shapes.answered(client.plan())
    if json:
        render.print_json(found)
        return
    named = {"plan": f"{found['plan']['name']} ({found['plan']['id']})"}
    render.print_fields(named | shapes.bounds(found["quotas"]))
