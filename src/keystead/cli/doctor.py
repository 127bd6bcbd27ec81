"""`keystead doctor`: check an installation and suggest fixes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from keystead.cli import render
from keystead.cli.options import HERE, Json, Place
from keystead.cli.outcome import Exit

if TYPE_CHECKING:
    from keystead.operation.checks import Finding
    from keystead.settings import Settings

Gateways = Annotated[
    tuple[Path, ...],
    Parameter(
        negative=(),
        consume_multiple=False,
        help="The configuration of a gateway; repeatable. Those at the usual places in /etc are checked anyway.",
    ),
]
MARKS: Final = {"ok": "ok", "warning": "warn", "fault": "FAULT"}


def doctor(*, gateway: Gateways = (), place: Place = HERE, json: Json = False) -> int:
    """Check settings, files, peppers, database, schema, clock, disk, port, TLS and gateways. Changes nothing.

    The exit code is 1 if there is a fault.
    """
    findings = [*_examine(place), *_examine_gateways(gateway)]
    if json:
        render.print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            render.print_line(f"{MARKS[finding.verdict]:<5}  {finding.check:<13}  {finding.says}")
    faults = any(finding.verdict == "fault" for finding in findings)
    return Exit.REFUSED if faults else Exit.DONE


def _examine(place: Place) -> Iterator[Finding]:
    from keystead.operation.checks import Finding, Verdict
    from keystead.operation.files import ConfigurationError
    from keystead.settings import read_server_settings

    try:
        settings = read_server_settings(**asdict(place))
    except ConfigurationError as error:
        yield Finding("configuration", Verdict.FAULT, f"{error}.")
        return
    yield Finding("configuration", Verdict.OK, "The settings are consistent.")
    yield from _examine_machine(settings)
    yield from _examine_installation(settings)


def _examine_gateways(files: tuple[Path, ...]) -> Iterator[Finding]:
    from keystead.operation.gateway_files import check_gateways, usual_files

    finding = check_gateways((*usual_files(), *files))
    if finding is not None:
        yield finding


def _examine_machine(settings: Settings) -> Iterator[Finding]:
    from keystead.operation import checks
    from keystead.operation.files import require_pair

    yield checks.check_interpreter(sys.version_info[:3])
    cert, key = settings.tls_cert, settings.tls_key
    if cert is not None and key is not None:
        yield checks.attempt("tls", lambda: require_pair(cert, key))
    yield checks.check_port(
        settings.host, settings.port, tls=cert is not None, server=settings.product.token
    )
    folder = settings.data if settings.data.is_dir() else settings.data.absolute().parent
    if folder.is_dir():
        yield checks.check_disk(folder)


def _examine_installation(settings: Settings) -> Iterator[Finding]:
    from keystead import bootstrap
    from keystead.domain.errors import StorageError
    from keystead.operation import checks

    yield checks.attempt("files", lambda: bootstrap.require_private_place(settings))
    if not bootstrap.has_begun(settings):
        says = "There is no database yet; `keystead serve` creates it."
        yield checks.Finding("database", checks.Verdict.OK, says)
        return
    try:
        yield from bootstrap.examine_database(settings)
    except StorageError as error:
        says = f"{error} Is it running, and is its URL right?"
        yield checks.Finding("database", checks.Verdict.FAULT, says)
        return
    yield (schema := checks.attempt("schema", lambda: bootstrap.check_schema(settings)))
    if schema.verdict is checks.Verdict.OK:
        if not settings.is_embedded:
            yield checks.attempt("row security", lambda: bootstrap.check_row_security(settings))
        yield checks.attempt("peppers", lambda: bootstrap.check_peppers(settings))
