"""`keystead move`: at no time do servers accept both databases, or one that is incomplete."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text

from keystead import bootstrap
from keystead.bootstrap import Settings, Step, moving
from keystead.cli.installation import actor
from keystead.domain.errors import StorageError
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import operator
from keystead.domain.verification import Verified
from keystead.operation.files import ConfigurationError
from keystead.operation.peppers import FILE_NAME, make_peppers
from keystead.storage.database import Database
from keystead.storage.maintenance import migrate
from keystead.storage.moving import postgresql
from keystead.storage.moving.exclusive import ExclusiveDatabase
from keystead.storage.moving.postgresql import ExclusivePostgresql
from keystead.storage.moving.sqlite import ExclusiveSqlite
from keystead.storage.row_security.diff import SERVER_ROLE
from tests.support.installations import text_of
from tests.support.postgres import DEADLINE_SECONDS, PostgresServer
from tests.support.processes import nursery
from tests.support.row_security import installed, installed_database
from tests.support.versions import revisions_with

OWNER = "mover"
CREATE_ROLE = """
DO $$ BEGIN CREATE ROLE {} LOGIN {}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$
"""
ENGINES = ("sqlite", "postgresql")


def nothing(_: Step) -> None:
    """Show no step."""


class Trial:
    """An installation on SQLite with two keys, one of them revoked, and where it is to move to.

    `target`: an empty database, by the URL of its owner. `login`: the role of servers there.
    """

    def __init__(self, folder: Path, target: str, login: str = SERVER_ROLE) -> None:
        self.target, self.login = target, login
        data = folder / "data"
        data.mkdir(mode=0o700, parents=True)
        make_peppers(data / FILE_NAME)
        self.settings = Settings(data=data, database=installed(f"sqlite:///{data / 'keystead.db'}"))
        installation = bootstrap.open_safely(self.settings)
        workspace = installation.services.workspaces.create("Acme", plan_id="scale")
        self.principal = operator("tests", workspace.id)
        keys = installation.services.keys
        created = [keys.create(self.principal, KeyDraft(name)) for name in ("alive", "revoked")]
        self.tokens = [text_of(key) for key in created]
        self.alive, revoked = (key.key.id for key in created)
        keys.revoke(self.principal, revoked)
        installation.close()

    def settings_of(self, target: str) -> Settings:
        """Return the settings of a server on a database of that owner's URL."""
        data = self.settings.data
        if target.startswith("sqlite:"):
            return Settings(data=data, database=target)
        server = make_url(target).set(username=self.login).render_as_string()
        return Settings(data=data, database=server, migration_database=target)

    @property
    def moved(self) -> Settings:
        """The settings of a server on the target."""
        return self.settings_of(self.target)

    @property
    def back(self) -> str:
        """The URL of a new file to move to from there."""
        return f"sqlite:///{self.settings.data / 'back.db'}"

    def move(self) -> bootstrap.Moved:
        """Move it."""
        return bootstrap.move(self.settings, self.target, nothing, self.login)

    def verdicts(self, settings: Settings) -> list[bool]:
        """Return which tokens a server on that database accepts."""
        bootstrap.prepare(settings)
        installation = bootstrap.open_safely(settings)
        try:
            verifier = installation.services.verifier
            return [isinstance(verifier.verify(token), Verified) for token in self.tokens]
        finally:
            installation.close()


def refusal(settings: Settings) -> str:
    """Return why a server doesn't start on this database; empty if it does."""
    try:
        bootstrap.prepare(settings)
    except (ConfigurationError, StorageError) as error:
        return str(error)
    return ""


@pytest.fixture(params=ENGINES)
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trial]:
    """An installation, to be moved to a new file or to a PostgreSQL that was migrated and not used."""
    if request.param == "sqlite":
        yield Trial(tmp_path, f"sqlite:///{tmp_path / 'new' / 'keystead.db'}")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = installed_database(server)
    yield Trial(tmp_path, server.dsn(name))
    server.drop_database(name)


@pytest.fixture
def plain_trial(postgres: PostgresServer, tmp_path: Path) -> Iterator[Trial]:
    """An installation, to be moved to an empty PostgreSQL of an owner who is no superuser."""
    postgres.execute(CREATE_ROLE.format(OWNER, "CREATEROLE"))
    name = postgres.create_database()
    postgres.execute(f'ALTER DATABASE "{name}" OWNER TO {OWNER}')
    target = postgres.dsn(name).replace("postgres@", f"{OWNER}@")
    yield Trial(tmp_path, target, f"server_{os.urandom(3).hex()}")
    postgres.drop_database(name)


def test_the_old_database_refuses_and_can_be_taken_back(trial: Trial) -> None:
    """After a move the old one says where it went, for every way to open it; after an undo it is served again."""
    moved = trial.move()
    assert [table.rows for table in moved.tables if table.name == "api_keys"] == [2]
    assert trial.verdicts(trial.moved) == [True, False]
    assert f"was moved to {moved.target}" in refusal(trial.settings)
    for open_it in (bootstrap.open_safely, bootstrap.check_schema):
        with pytest.raises(ConfigurationError, match="keystead move --undo"):
            open_it(trial.settings)
    with pytest.raises(ConfigurationError, match=f"was moved to {moved.target}"):
        trial.move()
    assert bootstrap.undo_move(trial.settings).place == moved.target
    assert trial.verdicts(trial.settings) == [True, False]
    with pytest.raises(ConfigurationError, match="was not moved away"):
        bootstrap.undo_move(trial.settings)
    with pytest.raises(ConfigurationError, match="isn't empty"):
        trial.move()


def test_what_was_revoked_after_the_move_bars_the_way_back(trial: Trial) -> None:
    """The revocation log of the data folder knows: the old database needs a restore before it is served again."""
    trial.move()
    installation = bootstrap.open_safely(trial.moved)
    installation.services.keys.revoke(trial.principal, trial.alive)
    installation.close()
    bootstrap.undo_move(trial.settings)
    assert "lacks 1 revocation" in refusal(trial.settings)


@pytest.mark.parametrize("end", ["source", "target"])
def test_a_running_server_is_refused(
    trial: Trial, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation that is open somewhere, however idle, isn't moved, nor is anything moved over it."""
    monkeypatch.setattr(postgresql, "CLOSING_SECONDS", 0.1)
    settings = trial.settings if end == "source" else trial.moved
    bootstrap.migrate(settings)
    with (
        closing(bootstrap.open_safely(settings)),
        pytest.raises(ConfigurationError, match="Stop servers"),
    ):
        trial.move()
    assert trial.verdicts(trial.settings) == [True, False]


def test_a_move_there_and_back(plain_trial: Trial) -> None:
    """To PostgreSQL and on to SQLite, though row-level security hides rows from their owner; tokens work on each."""
    trial = plain_trial
    there = trial.move()
    assert (there.server, there.made_login) == (trial.login, True)
    assert trial.verdicts(trial.moved) == [True, False]
    moved = bootstrap.move(trial.moved, trial.back, nothing)
    assert [table.rows for table in moved.tables if table.name == "api_keys"] == [2]
    assert trial.verdicts(trial.settings_of(trial.back)) == [True, False]
    assert f"was moved to {moved.target}" in refusal(trial.moved)
    _require_shut_out(trial)
    bootstrap.undo_move(trial.moved, trial.login)
    assert trial.verdicts(trial.moved) == [True, False]


def _require_shut_out(trial: Trial) -> None:
    """Check that a server which missed the move can neither verify nor change anything."""
    with psycopg.connect(trial.moved.database_url, autocommit=True) as connection:
        assert connection.execute("SELECT state FROM moves").fetchone() == ("left",)
        for role in ("", "_application", "_worker", "_operator"):
            connection.execute(f"SET ROLE {trial.login}{role}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT id FROM api_keys")


def test_a_database_that_is_not_empty_is_refused(trial: Trial, postgres: PostgresServer) -> None:
    """Neither another installation nor another program's tables are overwritten; nothing changes there or here."""
    trial.move()
    second = Trial(trial.settings.data / "second", trial.target)
    with pytest.raises(ConfigurationError, match="isn't empty"):
        second.move()
    assert trial.verdicts(trial.moved) == [True, False]
    foreign = trial.back.replace("back", "foreign")
    if not trial.moved.is_embedded:
        foreign = postgres.dsn(postgres.create_database())
    with closing(Database(foreign)) as database, database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
    with pytest.raises(ConfigurationError, match="isn't empty"):
        bootstrap.move(second.settings, foreign, nothing)
    assert second.verdicts(second.settings) == [True, False]


@pytest.mark.parametrize("trial", ["postgresql"], indirect=True)
def test_a_role_that_owns_nothing_is_refused(trial: Trial, postgres: PostgresServer) -> None:
    """A role that owns neither the database nor its tables is named as the reason, and nothing is moved."""
    postgres.execute(CREATE_ROLE.format("guest", "NOCREATEROLE"))
    for target in (trial.target, postgres.dsn(postgres.create_database())):
        guest = target.replace("postgres@", "guest@")
        with pytest.raises(ConfigurationError, match="give --to the URL of a role that owns"):
            bootstrap.move(trial.settings, guest, nothing)
    assert trial.verdicts(trial.settings) == [True, False]


@pytest.mark.parametrize("trial", ["sqlite"], indirect=True)
def test_a_url_that_no_server_could_use_is_refused(trial: Trial) -> None:
    """Another engine, no TLS, what no driver can read, and the same database by another path: each in one sentence."""
    folder = trial.settings.data
    reasons = {
        "mysql://db/keystead": "--to as database: must begin with sqlite:/// or postgresql://",
        "postgresql://db.example.com/keystead": "without TLS",
        "postgresql://localhost:port/keystead": "--to is malformed",
        "postgresql://localhost/keystead?bogus=1": "--to is malformed",
        f"sqlite:///{folder}/new.db?timeout=long": "--to is malformed",
        f"sqlite:///{folder}/../{folder.name}/keystead.db": "is in sqlite:///.* already",
    }
    for url, reason in reasons.items():
        with pytest.raises(ConfigurationError, match=reason):
            bootstrap.move(trial.settings, url, nothing)


def test_of_two_moves_at_once_one_is_refused(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move that began before another one ended changes nothing: the installation is in one place."""

    def prepare_slowly(settings: Settings) -> None:
        monkeypatch.undo()
        bootstrap.prepare(settings)
        trial.move()

    monkeypatch.setattr(moving, "prepare", prepare_slowly)
    with pytest.raises(ConfigurationError, match="was moved to"):
        bootstrap.move(trial.settings, trial.back, nothing)
    assert trial.verdicts(trial.moved) == [True, False]
    assert not bootstrap.database_file(trial.settings_of(trial.back)).exists()


def test_only_the_same_source_goes_on(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another installation at the same place doesn't replace what an interrupted move has copied."""

    def interrupt(_: ExclusiveSqlite) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ExclusiveSqlite, "give_up", interrupt)
    with pytest.raises(KeyboardInterrupt):
        trial.move()
    monkeypatch.undo()
    data = trial.settings.data
    data.rename(data.with_name("first"))
    second = Trial(data.parent, trial.target, trial.login)
    peppers = [folder / FILE_NAME for folder in (data.with_name("first"), data)]
    peppers[1].write_text("".join(file.read_text() for file in peppers))
    with pytest.raises(ConfigurationError, match="isn't empty"):
        second.move()
    assert second.verdicts(second.settings) == [True, False]
    data.rename(data.with_name("second"))
    data.with_name("first").rename(data)
    trial.move()
    assert trial.verdicts(trial.moved) == [True, False]


@pytest.mark.parametrize("trial", ["sqlite"], indirect=True)
def test_backups_and_restores_heed_a_move(trial: Trial, tmp_path: Path) -> None:
    """No backup is made of a database that was left, nor put in its place, nor is a copy of it put anywhere."""
    before, after = tmp_path / "before", tmp_path / "after"
    bootstrap.back_up(trial.settings, before)
    trial.move()
    with pytest.raises(ConfigurationError, match="was moved to"):
        bootstrap.back_up(trial.settings, after)
    assert not after.exists()
    copy = bootstrap.database_file(trial.settings)
    for settings, file, reason in (
        (trial.settings, before, "^This installation was moved to"),
        (trial.moved, copy, "can't be restored. This installation was moved to"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            bootstrap.restore(settings, actor(), file=file, accept=True)
    assert "was moved to" in refusal(trial.settings)
    assert trial.verdicts(trial.moved) == [True, False]


@pytest.mark.parametrize("trial", ["sqlite"], indirect=True)
def test_an_upgrade_keeps_the_way_back(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that was left is taken back by a later version too, whose schema it gets."""
    trial.move()
    monkeypatch.setattr(migrate, "REVISIONS", revisions_with(tmp_path / "migrations"))
    bootstrap.undo_move(trial.settings)
    assert trial.verdicts(trial.settings) == [True, False]


POINTS = ("marking", "copying", "comparing", "copied", "given up", "arriving")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trial", "point"),
    [*product(["sqlite"], POINTS), *product(["postgresql"], POINTS[1:5:3])],
    indirect=["trial"],
)
def test_a_killed_move(trial: Trial, point: str) -> None:
    """Killed anywhere, exactly one database or none is accepted, never an incomplete one; the same command ends it."""
    child = nursery().Process(target=move_until, args=(trial, point))
    child.start()
    child.join(DEADLINE_SECONDS)
    assert child.exitcode == -signal.SIGKILL
    here, there = refusal(trial.settings), refusal(trial.moved)
    if point in {"given up", "arriving"}:
        assert "was moved to" in here
    else:
        assert here == ""
        assert trial.verdicts(trial.settings) == [True, False]
    if point == "arriving":
        assert there == ""
    else:
        assert "holds an unfinished move" in there
        trial.move()
    assert trial.verdicts(trial.moved) == [True, False]
    assert "was moved to" in refusal(trial.settings)


def move_until(trial: Trial, point: str) -> None:
    """Move, and be killed at a step, or right after one of the four commits."""
    commits = {"marking": 1, "copied": 2, "given up": 3, "arriving": 4}
    done = 0

    def counting(kind: type[ExclusiveDatabase]) -> None:
        commit = kind.commit

        def commit_and_die(self: ExclusiveDatabase) -> None:
            nonlocal done
            commit(self)
            done += 1
            if done == commits.get(point):
                os.kill(os.getpid(), signal.SIGKILL)

        kind.commit = commit_and_die  # type: ignore[method-assign]

    def on_step(step: Step) -> None:
        if step.table == "events" and point == ("comparing" if step.is_comparison else "copying"):
            os.kill(os.getpid(), signal.SIGKILL)

    counting(ExclusiveSqlite)
    counting(ExclusivePostgresql)
    bootstrap.move(trial.settings, trial.target, on_step, trial.login)
