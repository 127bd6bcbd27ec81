"""Two versions of Keystead: this one, and a later one with a revision of the schema that only tests have."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from keystead import bootstrap
from keystead.storage.maintenance import migrate
from tests.support.postgres import PostgresServer, wait_until
from tests.support.processes import live, nursery
from tests.support.server_process import ServerProcess, free_port, serving

LATER: Final = Path(__file__).parent / "later_revision" / "r0005_notes.py"


def revisions_with(folder: Path, revision: Path = LATER) -> Path:
    """Copy the migrations to `folder`, and add a revision."""
    hidden = shutil.ignore_patterns("__pycache__")
    shutil.copytree(migrate.REVISIONS, folder, ignore=hidden)
    shutil.copy(revision, folder / "versions")
    return folder


@pytest.fixture
def later_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this process one of the later version. Returns the folder of its migrations."""
    revisions = revisions_with(tmp_path / "migrations")
    monkeypatch.setattr(migrate, "REVISIONS", revisions)
    return revisions


@dataclass
class LaterServing(ServerProcess):
    """A server of the later version."""

    revisions: Path = LATER

    def start(self) -> None:
        """Start it and wait until its database answers through it."""
        self.port = self.port or free_port()
        arguments = ("serve", "--port", str(self.port), *self.arguments)
        self.process = nursery().Process(
            target=live_later,
            args=(self.revisions, arguments, self._environment(), str(self.data)),
        )
        self.process.start()
        wait_until(self.is_ready, "the server of the later version is ready")


def live_later(
    revisions: Path, arguments: Sequence[str], environment: Mapping[str, str], folder: str
) -> None:
    """Run a command of the later version, as `live` does of this one."""
    migrate.REVISIONS = revisions  # type: ignore[misc] # a constant, except here
    live(arguments, environment, folder)


@contextmanager
def two_versions(
    postgres: PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Run a server of this version, and one of the later version, to which the database was migrated meanwhile.

    From then on this process is one of the later version too.
    """
    name = postgres.create_database()
    with serving(postgres.dsn(name), data=folder / "data") as before:
        revisions = revisions_with(folder / "migrations")
        monkeypatch.setattr(migrate, "REVISIONS", revisions)
        settings = before.settings.model_copy(update={"migration_database": postgres.dsn(name)})
        assert bootstrap.migrate(settings).before.status == "behind"
        after = LaterServing(before.database_url, before.data, revisions=revisions)
        try:
            after.start()
            yield before, after
        finally:
            if after.process is not None:
                after.kill()
    postgres.drop_database(name)
