"""`keystead migrate` brings a database to this version's schema, and reports its state."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from keystead.cli.outcome import Exit
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from tests.cli.conftest import Keystead


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, empty_url: str, tmp_path: Path) -> Path:
    """The data folder of a new installation, on an empty database of each engine."""
    folder = (
        Path(empty_url.removeprefix("sqlite:///")).parent
        if "sqlite" in empty_url
        else tmp_path / "data"
    )
    monkeypatch.setenv("KEYSTEAD_DATA", str(folder))
    monkeypatch.setenv("KEYSTEAD_DATABASE", empty_url)
    return folder


def test_an_empty_database_is_brought_to_the_schema(run: Keystead, place: Path) -> None:
    """Before, `--check` says empty and fails; the command creates schema and pepper; again it does nothing."""
    before = run("migrate", "--check", "--json")
    assert (before.code, before.json["status"]) == (1, "empty")
    assert not place.exists() or not list(place.glob("[kp]e*"))
    assert run("migrate").code == 0
    peppers = (place / "peppers").read_text()
    after = run("migrate", "--check", "--json")
    assert (after.code, after.json["status"]) == (0, "current")
    assert "already current" in run("migrate").out
    assert (place / "peppers").read_text() == peppers


def test_an_installation_without_its_pepper_gets_no_other(run: Keystead, place: Path) -> None:
    """On a PostgreSQL in use, a server without the pepper asks for a copy of it, even if there is no key yet."""
    assert run("migrate").code == 0
    (place / "peppers").unlink()
    again = run("migrate")
    if (place / "keystead.db").exists():
        assert again.code == 0
    else:
        assert again.code == 78
        assert "There is no pepper" in again.err
        assert not (place / "peppers").exists()


def test_a_newer_schema_is_left_alone(run: Keystead, place: Path, empty_url: str) -> None:
    """On a database that this version doesn't know, the command changes nothing and says why."""
    assert run("migrate").code == 0
    peppers = (place / "peppers").read_text()
    with closing(Database(empty_url)) as database, database.write_across(Purpose.OWNER) as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    refused = run("migrate")
    assert (refused.code, refused.out) == (Exit.CONFIGURATION, "")
    assert "a newer Keystead wrote" in refused.err
    assert run("migrate", "--check").code == Exit.REFUSED
    assert (place / "peppers").read_text() == peppers
