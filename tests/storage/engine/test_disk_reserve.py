"""Room kept for taking authority away: made, given, made again, and never in anybody's way."""

from __future__ import annotations

from pathlib import Path

import pytest

from keystead.domain.errors import DiskFull
from keystead.storage.engine.disk_reserve import RESERVE_BYTES, Reserve


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Have the disk say that so many bytes are free."""
    monkeypatch.setattr("os.statvfs", lambda _: _Disk(size))


class _Disk:
    f_frsize = 1

    def __init__(self, f_bavail: int) -> None:
        self.f_bavail = f_bavail


def test_it_is_made_by_the_first_write_that_can_wait(tmp_path: Path) -> None:
    """A private file of its size beside the database; what ends authority leaves it alone while there is room."""
    reserve, file = Reserve(tmp_path / "keystead.db"), tmp_path / "keystead.db-reserve"
    reserve.keep()
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (RESERVE_BYTES, 0o600)
    assert not reserve.give()
    assert file.stat().st_size == RESERVE_BYTES


def test_it_is_given_where_there_is_no_other_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given to what ends authority; what can wait is refused until there is room for twice as much."""
    reserve, file = Reserve(tmp_path / "keystead.db"), tmp_path / "keystead.db-reserve"
    reserve.keep()
    free(monkeypatch, RESERVE_BYTES - 1)
    assert reserve.give()
    assert file.stat().st_size == 0
    free(monkeypatch, 2 * RESERVE_BYTES - 1)
    with pytest.raises(DiskFull):
        reserve.keep()
    free(monkeypatch, 2 * RESERVE_BYTES)
    reserve.keep()
    assert file.stat().st_size == RESERVE_BYTES


def test_a_place_that_is_gone_is_left_to_sqlite(tmp_path: Path) -> None:
    """Where the folder was moved away nothing is raised here: SQLite's own words say what is wrong."""
    reserve = Reserve(tmp_path / "nowhere" / "keystead.db")
    reserve.keep()
    assert not reserve.give()
    reserve.release()
