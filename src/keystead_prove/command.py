"""`keystead prove`: the promises put to the proof, on a running installation or on one that is made for it."""

from __future__ import annotations

import signal
import sys
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
    from keystead_prove.environment import Ground
    from keystead_prove.experiments import Sizes
    from keystead_prove.finding import Finding
    from keystead_prove.report import Report

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
    """Put the promises to the proof: that ends hold at once, limits are exact, and what was answered is kept.

    Without --url it makes an installation for it on this machine, and throws it away: on the embedded database, or on
    the empty one of --database. With the --url of every server, run on the machine of a running installation, it works
    in a workspace of its own there; at the end it revokes that workspace's keys and suspends it.

    In each experiment a fault is planted that it must see; otherwise it is not conclusive. Exit code 0 only where
    every promise held and every planted fault was seen.

    Parameters
    ----------
    experiments
        Which ones, such as revocation; all that can be run there, unless named.
    url
        A server of the running installation; once for each.
    through
        With --url: an address behind your gateway, or in your application, that answers GET with 2xx to any key of full
        access, and with 401 or 403 to whom it does not let in. Keys are verified there too; once for each.
    servers
        How many servers to start, without --url.
    full
        The sizes of a thorough proof, which takes an hour, instead of some minutes'.
    keys
        How many keys to revoke.
    rounds
        How many rounds of the experiments that go by rounds: limit, clock, kill, restart.
    seconds
        How long the database is away.
    report
        File to write the report to, as Markdown.
    """
    from keystead.cli.outcome import forbid_core_dumps
    from keystead_prove.report import Report
    from keystead_prove.target import Refused

    forbid_core_dumps()
    sizes = _sizes(full, keys=keys, rounds=rounds, seconds=seconds)
    begun_at, began = datetime.now(UTC), time.monotonic()
    try:
        with _ending_well(), _ground(place, url, through, servers) as ground:
            render.note(f"In the workspace {ground.workspace}.")
            findings = list(_run(ground, experiments, sizes))
    except Refused as error:
        raise Failure(f"The proof ended: {error}.", Exit.UNAVAILABLE) from None
    if url:
        render.note(f"The keys of {ground.workspace} are revoked, and it is suspended.")
    done = Report(begun_at, time.monotonic() - began, ground.about, findings)
    _tell(done, report, json)
    return Exit.DONE if done.verdict == "held" else Exit.REFUSED


@contextmanager
def _ending_well() -> Iterator[None]:
    """SIGTERM is as Ctrl+C: what was started is ended, and the workspace is left without a live key."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _sizes(full: bool, **given: float | None) -> Sizes:
    from keystead_prove.experiments import FULL, QUICK

    sizes = FULL if full else QUICK
    chosen = {name: value for name, value in given.items() if value is not None}
    if "rounds" in chosen:
        chosen["kills"] = chosen["restarts"] = chosen["rounds"]
    if any(value <= 0 for value in chosen.values()):
        raise Failure("Sizes are greater than zero.", Exit.USAGE)
    if "keys" in chosen:
        chosen["keys_each"] = min(sizes.keys_each, chosen["keys"])
    return replace(sizes, **chosen)  # type: ignore[arg-type] # as typed by the command's own parameters


def _ground(
    place: Place, urls: Sequence[str], others: Sequence[str], servers: int
) -> AbstractContextManager[Ground]:
    from keystead_prove.environment import on_own, on_running

    if urls:
        return on_running(place, urls, others)
    if others:
        raise Failure(
            "--through is for a running installation: give the --url of its servers.", Exit.USAGE
        )
    if place.data is not None:
        raise Failure(
            "--data names a running installation: give the --url of each of its servers.",
            Exit.USAGE,
        )
    if servers < 1:
        raise Failure("--servers is at least 1.", Exit.USAGE)
    return on_own(place.database, servers)


def _run(ground: Ground, names: Sequence[str], sizes: Sizes) -> Iterator[Finding]:
    from keystead_prove.experiments import possible
    from keystead_prove.report import line

    there = possible(ground.scene)
    unknown = [name for name in names if name not in there]
    if unknown:
        raise Failure(
            f"There is no experiment {unknown[0]} here; there are {', '.join(there)}.", Exit.USAGE
        )
    for name in names or there:
        for finding in there[name](ground.scene, sizes, render.progress):
            render.note(line(finding))
            yield finding


def _tell(done: Report, file: Path | None, json: bool) -> None:
    from keystead_prove.report import HEADINGS, as_json, as_markdown, row

    if file is not None:
        file.write_text(as_markdown(done), "utf-8")
    if json:
        render.print_json(as_json(done))
        return
    render.print_table([heading.upper() for heading in HEADINGS], map(row, done.findings))
    render.print_line(f"All together: {done.verdict}.")


def main() -> None:
    """Run `keystead prove`: the console script keystead-prove."""
    from keystead.cli import run

    sys.exit(run(["prove", *sys.argv[1:]]))
