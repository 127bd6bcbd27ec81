"""What `keystead doctor` looks at, one check at a time; each says what is wrong and how to mend it."""

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
from keystead.operation import ports
from keystead.operation.faults import ConfigurationError

MIB: Final = 1024 * 1024
LEAST_FREE: Final = 100 * MIB
LITTLE_FREE: Final = 1024 * MIB
SOUND_SQLITE: Final = (3, 51, 3)
OLDEST_POSTGRESQL: Final = (15,)
SOUND_PYTHONS: Final = {(3, 11): (3, 11, 10), (3, 12): (3, 12, 6)}
"""By series, the first Python without the known faults that matter here; later series never had them."""
LARGEST_SKEW: Final = timedelta(seconds=5)
DURABLE: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "SQLite": {"journal_mode": ("wal",), "synchronous": ("2", "3"), "foreign_keys": ("1",)},
    "PostgreSQL": {"synchronous_commit": ("on", "remote_apply")},
}
"""The values with which an acknowledged change is on disk."""
ROLE_WANTED: Final = "The server logs in as the role that `keystead migrate` makes for it."
UNSAFE_SERVER: Final = {"fsync": "on", "full_page_writes": "on"}
"""What only a PostgreSQL for tests has otherwise."""


class Verdict(StrEnum):
    """How a check came out. A fault keeps the server from running, or from keeping its promises."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and how to mend it."""

    check: str
    verdict: Verdict
    says: str


def attempt(check: str, look: Callable[[], Finding | str]) -> Finding:
    """The finding of `look`; its text alone is good news, what it raises is a fault."""
    try:
        found = look()
    except (ConfigurationError, StorageError) as error:
        return Finding(check, Verdict.FAULT, str(error))
    return found if isinstance(found, Finding) else Finding(check, Verdict.OK, found)


def check_interpreter(version: tuple[int, int, int]) -> Finding:
    """Whether this Python reads what strangers send without known faults."""
    says = f"Python {'.'.join(map(str, version))}"
    sound = SOUND_PYTHONS.get(version[:2], version)
    if version < sound:
        return Finding(
            "interpreter",
            Verdict.WARNING,
            f"{says} has known security faults: cookies can take quadratic time in frameworks (CVE-2024-7592),"
            " and line breaks can add fields to emails (CVE-2024-6923). Upgrade to"
            f" {'.'.join(map(str, sound))} or newer.",
        )
    return Finding("interpreter", Verdict.OK, f"{says}.")


def check_disk(folder: Path) -> Finding:
    """Whether there is room for what is to come."""
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
    """Whether the engine is one that is known to be sound."""
    says = f"{engine} {'.'.join(map(str, version))}"
    if engine == "SQLite" and version < SOUND_SQLITE:
        return Finding(
            "engine",
            Verdict.WARNING,
            f"{says} can corrupt a database when several processes check-point at once (fixed in 3.51.3): "
            "install pysqlite3, or run one worker.",
        )
    if engine == "PostgreSQL" and version < OLDEST_POSTGRESQL:
        return Finding("engine", Verdict.FAULT, f"{says} is too old: upgrade to 15 or newer.")
    return Finding("engine", Verdict.OK, f"{says}.")


def check_durability(engine: str, keeps: Mapping[str, str]) -> Finding:
    """Whether what was acknowledged is on disk."""
    weak = [name for name, good in DURABLE[engine].items() if keeps[name] not in good]
    if weak:
        wanted = ", ".join(f"{name} = {DURABLE[engine][name][0]}" for name in weak)
        says = f"A power cut could undo acknowledged changes: set {wanted} in {engine}."
        return Finding("durability", Verdict.FAULT, says)
    unsafe = [name for name, good in UNSAFE_SERVER.items() if keeps.get(name, good) != good]
    if unsafe:
        says = f"{engine} runs without {' and '.join(unsafe)}, as only one for tests may."
        return Finding("durability", Verdict.WARNING, says)
    return Finding("durability", Verdict.OK, f"An acknowledged change is on disk{_beyond(keeps)}.")


def _beyond(keeps: Mapping[str, str]) -> str:
    """Where else it is: on which standbys, if any."""
    standbys = keeps.get("synchronous_standby_names")
    if standbys is None:
        return ""
    if not standbys:
        return " of this one server: no standby is synchronous, so a failover can lose it"
    return f", and on that of synchronous standbys: {standbys}"


def check_role(fault: str | None) -> Finding:
    """Whether row security holds the role that the server logs in as (`fault`: why not)."""
    if fault is not None:
        return Finding("role", Verdict.FAULT, f"{fault}. {ROLE_WANTED}")
    return Finding("role", Verdict.OK, "The server's role in PostgreSQL is one that may little.")


def check_clock(told: datetime) -> Finding:
    """Whether this machine's clock and the database's (`told`, read just now) agree."""
    skew = abs(datetime.now(UTC) - told)
    says = f"{skew.total_seconds():.1f} s apart"
    if skew > LARGEST_SKEW:
        return Finding(
            "clock",
            Verdict.WARNING,
            f"The clocks of this machine and of the database are {says}; the database's decides. Run NTP on both.",
        )
    return Finding("clock", Verdict.OK, f"The clocks of machine and database are {says}.")


def check_port(host: str, port: int, *, tls: bool) -> Finding:
    """Whether the server can listen, or does already."""
    if _answers(host, port, tls=tls):
        return Finding("port", Verdict.OK, f"Keystead answers on port {port} of {host}.")
    return attempt("port", lambda: _free(host, port))


def _free(host: str, port: int) -> str:
    with ports.reserve(host, port):
        return f"Port {port} on {host} is free."


def _answers(host: str, port: int, *, tls: bool) -> bool:
    """Whether Keystead is there; nothing secret is sent, so nobody's certificate is asked for."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    connection = (
        HTTPSConnection(host, port, timeout=2, context=unchecked)
        if tls
        else HTTPConnection(host, port, timeout=2)
    )
    with suppress(OSError, HTTPException), closing(connection):
        connection.request("GET", "/healthz")
        return connection.getresponse().getheader("server") == "keystead"
    return False
