"""The checks of `keystead doctor`: each finds one problem and says how to fix it."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final

from keystead.domain.errors import StorageError
from keystead.operation.files import ConfigurationError
from keystead.operation.server.address import reserve

MIB: Final = 1024 * 1024
LEAST_FREE: Final = 100 * MIB
LITTLE_FREE: Final = 1024 * MIB
SOUND_SQLITE: Final = (3, 51, 3)
OLDEST_POSTGRESQL: Final = (15,)
SOUND_PYTHONS: Final = {(3, 11): (3, 11, 10), (3, 12): (3, 12, 6)}
"""For each series, the first Python without known vulnerabilities that matter here."""
LARGEST_SKEW: Final = timedelta(seconds=5)
DURABLE: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "SQLite": {"journal_mode": ("wal",), "synchronous": ("2", "3"), "foreign_keys": ("1",)},
    "PostgreSQL": {"synchronous_commit": ("on", "remote_apply")},
}
"""For each engine, the settings under which an acknowledged change is on disk."""
ROLE_WANTED: Final = "The server must log in as the role that `keystead migrate` creates for it."
UNSAFE_SERVER: Final = {"fsync": "on", "full_page_writes": "on"}
"""PostgreSQL settings that only a server for tests may change."""


class Verdict(StrEnum):
    """The result of a check. A fault keeps the server from running, or breaks its guarantees."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and how to fix it."""

    check: str
    verdict: Verdict
    says: str


def attempt(check: str, look: Callable[[], Finding | str]) -> Finding:
    """Return the finding of `look`: a text means OK, a configuration or storage error is a fault."""
    try:
        finding = look()
    except (ConfigurationError, StorageError) as error:
        return Finding(check, Verdict.FAULT, str(error))
    return finding if isinstance(finding, Finding) else Finding(check, Verdict.OK, finding)


def check_interpreter(version: tuple[int, int, int]) -> Finding:
    """Check for known vulnerabilities of this Python."""
    says = f"Python {'.'.join(map(str, version))}"
    sound = SOUND_PYTHONS.get(version[:2], version)
    if version < sound:
        return Finding(
            "interpreter",
            Verdict.WARNING,
            f"{says} has known vulnerabilities: cookies can take quadratic time in frameworks (CVE-2024-7592),"
            " and line breaks can add fields to emails (CVE-2024-6923). Upgrade to"
            f" {'.'.join(map(str, sound))} or newer.",
        )
    return Finding("interpreter", Verdict.OK, f"{says}.")


def check_disk(folder: Path) -> Finding:
    """Check the free disk space."""
    free = shutil.disk_usage(folder).free
    says = f"{free // MIB} MiB are free on the disk of {folder}"
    if free < LEAST_FREE:
        return Finding(
            "disk", Verdict.FAULT, f"Only {says}: make room, or creating keys will fail."
        )
    if free < LITTLE_FREE:
        return Finding("disk", Verdict.WARNING, f"Only {says}: make room.")
    return Finding("disk", Verdict.OK, f"{says}.")


def check_engine(engine: str, version: tuple[int, ...]) -> Finding:
    """Check the version of the database engine."""
    says = f"{engine} {'.'.join(map(str, version))}"
    if engine == "SQLite" and version < SOUND_SQLITE:
        return Finding(
            "engine",
            Verdict.WARNING,
            f"{says} can corrupt a database when several processes checkpoint at the same time (fixed in 3.51.3): "
            "install pysqlite3, or run one worker.",
        )
    if engine == "PostgreSQL" and version < OLDEST_POSTGRESQL:
        return Finding("engine", Verdict.FAULT, f"{says} is too old: upgrade to 15 or newer.")
    return Finding("engine", Verdict.OK, f"{says}.")


def check_durability(engine: str, keeps: Mapping[str, str]) -> Finding:
    """Check that an acknowledged change is on disk."""
    weak = [name for name, good in DURABLE[engine].items() if keeps[name] not in good]
    if weak:
        wanted = ", ".join(f"{name} = {DURABLE[engine][name][0]}" for name in weak)
        says = f"A power cut could undo acknowledged changes: set {wanted} in {engine}."
        return Finding("durability", Verdict.FAULT, says)
    unsafe = [name for name, good in UNSAFE_SERVER.items() if keeps.get(name, good) != good]
    if unsafe:
        says = f"{engine} runs without {' and '.join(unsafe)}, which only a server for tests may."
        return Finding("durability", Verdict.WARNING, says)
    return Finding(
        "durability", Verdict.OK, f"An acknowledged change is on disk{_standbys(keeps)}."
    )


def _standbys(keeps: Mapping[str, str]) -> str:
    standbys = keeps.get("synchronous_standby_names")
    if standbys is None:
        return ""
    if not standbys:
        return " of this server only: no standby is synchronous, so a failover can lose it"
    return f", and on the disks of synchronous standbys: {standbys}"


def check_role(fault: str | None) -> Finding:
    """Check that row-level security binds the server's login role; `fault` says why it doesn't."""
    if fault is not None:
        return Finding("role", Verdict.FAULT, f"{fault}. {ROLE_WANTED}")
    return Finding(
        "role", Verdict.OK, "The server's PostgreSQL role has only the privileges it needs."
    )


def check_clock(database_time: datetime) -> Finding:
    """Check that this machine's clock agrees with the database's, which was read just now."""
    skew = abs(datetime.now(UTC) - database_time)
    says = f"{skew.total_seconds():.1f} s apart"
    if skew > LARGEST_SKEW:
        return Finding(
            "clock",
            Verdict.WARNING,
            f"The clocks of this machine and the database are {says}; the database's decides. Run NTP on both.",
        )
    return Finding("clock", Verdict.OK, f"The clocks of machine and database are {says}.")


def check_port(host: str, port: int, *, tls: bool, server: str) -> Finding:
    """Check that the server can listen, or already does. `server`: the name that it answers with."""
    if _answers(host, port, tls=tls) == server:
        return Finding("port", Verdict.OK, f"Keystead answers on port {port} of {host}.")
    return attempt("port", lambda: _free(host, port))


def _free(host: str, port: int) -> str:
    with reserve(host, port):
        return f"Port {port} on {host} is free."


def _answers(host: str, port: int, *, tls: bool) -> str | None:
    """Return the name of the server that answers there; None without one."""
    # No secret is sent, so the certificate need not be verified.
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    connection = (
        HTTPSConnection(host, port, timeout=2, context=unchecked)
        if tls
        else HTTPConnection(host, port, timeout=2)
    )
    with suppress(OSError, HTTPException), closing(connection):
        connection.request("GET", "/healthz")
        return connection.getresponse().getheader("server")
    return None
