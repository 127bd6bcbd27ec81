"""Disk space reserved for revocations: filled, released, filled again, and harmless if the folder is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from keystead.domain.errors import DiskFull
from keystead.storage.engine.disk_reserve import RESERVE_BYTES, DiskReserve


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Have the disk report that many free bytes."""
    monkeypatch.setattr("os.statvfs", lambda _: _Disk(size))


class _Disk:
    f_frsize = 1

    def __init__(self, f_bavail: int) -> None:
        self.f_bavail = f_bavail


def test_it_is_made_by_the_first_write_that_can_wait(tmp_path: Path) -> None:
    """A private file of its size next to the database; a revoking write leaves it alone while there is space."""
    reserve, file = DiskReserve(tmp_path / "keystead.db"), tmp_path / "keystead.db-reserve"
    reserve.fill()
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (RESERVE_BYTES, 0o600)
    assert not reserve.release_if_needed()
    assert file.stat().st_size == RESERVE_BYTES


def test_it_is_released_if_there_is_no_other_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Released to a revoking write; other writes are refused until there is space for twice as much."""
    reserve, file = DiskReserve(tmp_path / "keystead.db"), tmp_path / "keystead.db-reserve"
    reserve.fill()
    free(monkeypatch, RESERVE_BYTES - 1)
    assert reserve.release_if_needed()
    assert file.stat().st_size == 0
    free(monkeypatch, 2 * RESERVE_BYTES - 1)
    with pytest.raises(DiskFull):
        reserve.fill()
    free(monkeypatch, 2 * RESERVE_BYTES)
    reserve.fill()
    assert file.stat().st_size == RESERVE_BYTES


def test_a_place_that_is_gone_is_left_to_sqlite(tmp_path: Path) -> None:
    """If the folder was moved away nothing is raised here: SQLite reports what is wrong."""
    reserve = DiskReserve(tmp_path / "nowhere" / "keystead.db")
    reserve.fill()
    assert not reserve.release_if_needed()
    reserve.release()
