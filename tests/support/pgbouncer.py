"""A real PgBouncer in transaction mode before a PostgreSQL of tests: few connections behind, many in front."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.postgres import HOST, NOBODY, PostgresServer, wait_until
from tests.support.processes import die_with_parent

PLACES: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])


@dataclass(frozen=True)
class PgBouncer:
    """A running pooler."""

    port: int

    def url(self, direct: str) -> str:
        """Return the URL through the pooler to the database at `direct`, as settings have it."""
        begin, _, rest = direct.rpartition(f"@{HOST}:")
        return f"{begin}@{HOST}:{self.port}/{rest.partition('/')[2]}?pgbouncer=true"


@contextmanager
def pgbouncer(server: PostgresServer, *users: str, connections: int = 2) -> Iterator[PgBouncer]:
    """Run a pooler with that many connections for each database and user; skip the test if it is not installed."""
    program = shutil.which("pgbouncer", path=PLACES)
    if program is None:
        pytest.skip("no pgbouncer: make test installs it as root on Debian")
    with tempfile.TemporaryDirectory(prefix="keystead-pgbouncer-") as place:
        folder, port = Path(place), _free_port()
        _configure(folder, server, port, users, connections)
        user = NOBODY if os.geteuid() == 0 else None  # it will not run as root
        process = subprocess.Popen(
            [program, "-q", folder / "pgbouncer.ini"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            preexec_fn=die_with_parent,  # noqa: PLW1509 - a test that is killed leaves no pooler behind
            user=user,
            group=user,
        )
        try:
            wait_until(lambda: _answers(port), "PgBouncer answers")
            yield PgBouncer(port)
        finally:
            process.kill()
            process.wait()


def _configure(
    folder: Path, server: PostgresServer, port: int, users: tuple[str, ...], connections: int
) -> None:
    """Leave PgBouncer's defaults as they are: it refuses settings of a session, as everywhere."""
    folder.chmod(0o755)
    (folder / "users").write_text("".join(f'"{user}" ""\n' for user in users))
    (folder / "pgbouncer.ini").write_text(
        f"""
[databases]
* = host={server.host} port={server.port}
[pgbouncer]
listen_addr = {HOST}
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder / "users"}
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 200
"""
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False
