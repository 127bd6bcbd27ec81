"""`keystead prove`: tests the guarantees on a running installation or a temporary one."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from keystead.cli import render
from keystead.cli.options import Json, Place
from keystead.cli.outcome import Exit, Failure

if TYPE_CHECKING:
    from keystead_prove.environment import Setup
    from keystead_prove.experiments.catalog import Sizes
    from keystead_prove.report import Finding, Report

HERE: Final = Place()
Urls = Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=False)]


def prove(
    *experiments: str,
    url: Urls = (),
    through: Urls = (),
    servers: int = 3,
    full: Annotated[bool, Parameter(negative=())] = False,
    keys: int | None = None,
    rounds: int | None = None,
    seconds: float | None = None,
    report: Path | None = None,
    place: Place = HERE,
    json: Json = False,
) -> int:
    """Test the guarantees: revocation is immediate, limits are exact, and acknowledged changes are kept.

    Without --url, the command creates a temporary installation on this machine: on the embedded database, or on the
    empty database of --database. With the --url of every server of a running installation, run on its machine, it
    works in a new workspace there. At the end it revokes that workspace's keys and suspends it.

    Each experiment must also see a seeded fault; otherwise it is not conclusive. Exit code 0 only if every promise held
    and every seeded fault was seen.

    Parameters
    ----------
    experiments
        Names, such as revocation; default: all that can be run.
    url
        A server of the running installation; repeatable.
    through
        With --url: an address behind your gateway, or in your application, that answers GET with 2xx to any key with
        full access, and with 401 or 403 otherwise. Keys are verified there too; repeatable.
    servers
        How many servers to start, without --url.
    full
        Run for about an hour, instead of some minutes.
    keys
        How many keys to revoke.
    rounds
        How many rounds of the experiments limit, clock, kill and restart.
    seconds
        How long the database is unavailable.
    report
        File to write the report to, as Markdown.
    """
    from keystead.cli.outcome import forbid_core_dumps
    from keystead_prove.report import Report
    from keystead_prove.servers.calls import Refused

    forbid_core_dumps()
    sizes = _sizes(full, keys=keys, rounds=rounds, seconds=seconds)
    started_at, started = datetime.now(UTC), time.monotonic()
    try:
        with _sigterm_as_interrupt(), _setup(place, url, through, servers) as setup:
            render.note(f"In the workspace {setup.workspace}.")
            findings = list(_run(setup, experiments, sizes))
    except Refused as error:
        raise Failure(f"The test was interrupted: {error}.", Exit.UNAVAILABLE) from None
    if url:
        render.note(f"The keys of {setup.workspace} are revoked, and it is suspended.")
    done = Report(started_at, time.monotonic() - started, setup.about, findings)
    _print(done, report, json)
    return Exit.DONE if done.verdict == "held" else Exit.REFUSED


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl+C, so that started servers stop and the workspace keeps no live key."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _sizes(full: bool, **given: float | None) -> Sizes:
    from keystead_prove.experiments.catalog import FULL, QUICK

    sizes = FULL if full else QUICK
    chosen = {name: value for name, value in given.items() if value is not None}
    if "rounds" in chosen:
        chosen["kills"] = chosen["restarts"] = chosen["rounds"]
    if any(value <= 0 for value in chosen.values()):
        raise Failure("Sizes must be greater than zero.", Exit.USAGE)
    if "keys" in chosen:
        chosen["keys_each"] = min(sizes.keys_each, chosen["keys"])
    return replace(sizes, **chosen)  # type: ignore[arg-type] # as typed by the command's own parameters


def _setup(
    place: Place, urls: Sequence[str], others: Sequence[str], servers: int
) -> AbstractContextManager[Setup]:
    from keystead_prove.environment import on_own, on_running

    if urls:
        return on_running(place, urls, others)
    if others:
        raise Failure(
            "--through needs a running installation: give the --url of its servers.", Exit.USAGE
        )
    if place.data is not None:
        raise Failure(
            "--data names a running installation: give the --url of each of its servers.",
            Exit.USAGE,
        )
    if servers < 1:
        raise Failure("--servers is at least 1.", Exit.USAGE)
    return on_own(place.database, servers)


def _run(setup: Setup, names: Sequence[str], sizes: Sizes) -> Iterator[Finding]:
    from keystead_prove.experiments.catalog import possible
    from keystead_prove.report import summary

    available = possible(setup.environment)
    unknown = [name for name in names if name not in available]
    if unknown:
        raise Failure(
            f"Unknown experiment {unknown[0]}. Available: {', '.join(available)}.", Exit.USAGE
        )
    for name in names or available:
        for finding in available[name](setup.environment, sizes, render.progress):
            render.note(summary(finding))
            yield finding


def _print(done: Report, file: Path | None, json: bool) -> None:
    from keystead_prove.report import HEADINGS, as_json, as_markdown, row

    if file is not None:
        file.write_text(as_markdown(done), "utf-8")
    if json:
        render.print_json(as_json(done))
        return
    render.print_table([heading.upper() for heading in HEADINGS], map(row, done.findings))
    render.print_line(f"Overall: {done.verdict}.")
