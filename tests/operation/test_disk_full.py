"""A full file system: verification continues, creating is refused, and revoking uses the reserved space."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from keystead.storage.engine.connections import sqlite_driver
from tests.support.acknowledged_changes import DEAD, LIVE, verify
from tests.support.postgres import wait_until
from tests.support.server_process import ServerProcess, serving

SIZE: Final = "8m"
REVOCATIONS: Final = 40
RECOVERY_SECONDS: Final = 5.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB; skips if this account may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", place],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount: what happens on a full disk is not seen")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path) -> Path:
    """Write a file that takes all remaining space."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        for size in (65536, 4096):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    return ballast


@contextmanager
def server_on(disk: Path, logs: Path) -> Iterator[ServerProcess]:
    """Start a server whose database is on that disk, and whose own output is not."""
    logs.mkdir()
    data = disk / "data"
    with serving(f"sqlite:///{data / 'keystead.db'}", start=False) as server:
        for name in ("output", "log"):
            (logs / name).touch()
            (data / name).symlink_to(logs / name)
        server.start()
        server.put_on("scale")
        yield server


def change(server: ServerProcess, token: str, method: str, path: str) -> tuple[int, str]:
    """Send a change. Returns the status, and the code of a refusal."""
    body = {"description": "x" * 200} if method == "POST" else None
    answer = server.call(method, path, token=token, json=body)
    return answer.status_code, "" if answer.is_success else answer.json()["code"]


@pytest.mark.slow
def test_on_a_full_disk_keys_can_still_be_revoked(small_disk: Path, tmp_path: Path) -> None:
    """Each verdict is right, creating returns 507, 40 revocations hold; with space again everything works (R44)."""
    with server_on(small_disk, tmp_path / "logs") as server:
        token, other = server.token(), server.token()
        keys = [
            server.call("POST", "/v1/keys", token=token, json={"description": "k"}).json()
            for _ in range(REVOCATIONS)
        ]
        ballast = fill(small_disk)
        with suppress(AssertionError):
            for _ in range(2000):
                assert change(server, token, "POST", "/v1/keys") == (201, "")
        assert change(server, token, "POST", "/v1/keys") == (507, "disk-full")
        assert verify(server, other) == LIVE
        for key in keys:
            assert change(server, token, "DELETE", f"/v1/keys/{key['id']}") == (204, "")
            assert (verify(server, key["token"]), verify(server, other)) == (DEAD, LIVE)
        assert change(server, token, "POST", "/v1/keys") == (507, "disk-full")
        ballast.unlink()
        freed = time.monotonic()
        wait_until(lambda: change(server, token, "POST", "/v1/keys")[0] == 201, "keys are made")
        assert time.monotonic() - freed < RECOVERY_SECONDS
        server.kill()
        server.start()
        assert {verify(server, key["token"]) for key in keys} == {DEAD}
        assert verify(server, other) == LIVE
        require_whole(small_disk / "data" / "keystead.db")
        assert (small_disk / "data" / "keystead.db-reserve").stat().st_size > 0


def require_whole(database: Path) -> None:
    """Check that SQLite finds no damage in the file."""
    connection = sqlite_driver.connect(database)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    finally:
        connection.close()


@pytest.mark.prove
def test_a_disk_that_is_full_from_the_first_moment(small_disk: Path, tmp_path: Path) -> None:
    """A server that is killed and started on a full disk verifies and revokes, and creates nothing."""
    with server_on(small_disk, tmp_path / "logs") as server:
        token, victim = server.token(), server.token()
        own = server.call("GET", "/v1/whoami", token=victim).json()["key"]["id"]
        fill(small_disk)
        server.kill()
        server.start()
        assert verify(server, victim) == LIVE
        assert change(server, token, "POST", "/v1/keys") in {(201, ""), (507, "disk-full")}
        assert change(server, token, "DELETE", f"/v1/keys/{own}") == (204, "")
        assert verify(server, victim) == DEAD
