"""The generation file next to SQLite's: what invalidates it, what publishes a generation, and damaged files."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import delete, event, text, update

from keystead.domain.credentials import CredentialKind
from keystead.domain.documents import CollectionDraft, DocumentDraft
from keystead.domain.errors import NotFound, Unavailable
from keystead.domain.keys import KeyPatch
from keystead.domain.principals import Actor, Principal, PrincipalKind
from keystead.domain.scopes import Scopes
from keystead.services.keys import CreatedKey
from keystead.storage.database import Database
from keystead.storage.engine.connections import sqlite_driver
from keystead.storage.engine.roles import Purpose
from keystead.storage.freshness import generation_file as module
from keystead.storage.freshness.generation_file import (
    GENERATION,
    INVALID,
    GenerationFile,
    is_generation,
)
from keystead.storage.schema.tables import api_keys, workspaces
from tests.installations import PEPPERS, Ground, fresh_ground, prepare, sqlite_file


@pytest.fixture
def ground(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """An embedded installation of the test's own, with a generation file."""
    with fresh_ground(request, tmp_path_factory, "sqlite") as ground:
        generation_file_of(ground).open()
        yield ground


def generation_file_of(ground: Ground) -> GenerationFile:
    """The installation's own view."""
    assert ground.database.generation_file is not None
    return ground.database.generation_file


def file_of(ground: Ground) -> Path:
    """The path of the generation file."""
    file = sqlite_file(ground)
    return file.with_name(f"{file.name}-stamp")


def generation_of(ground: Ground) -> int:
    """The generation that the file has."""
    return memoryview(file_of(ground).read_bytes()).cast("Q")[GENERATION]


@contextmanager
def held(ground: Ground) -> Iterator[None]:
    """A time in which another writer holds the lock."""
    with closing(sqlite_driver.connect(sqlite_file(ground), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


# --- what invalidates it ---


def _suspend(ground: Ground, tenant: Principal, _: CreatedKey) -> None:
    ground.services.workspaces.suspend(tenant.workspace_id)


def _revoke(ground: Ground, tenant: Principal, created: CreatedKey) -> None:
    ground.services.keys.revoke(tenant, created.key.id)


def _narrow(ground: Ground, tenant: Principal, created: CreatedKey) -> None:
    patch = KeyPatch(scopes=Scopes(["keys:read"]))
    ground.services.keys.update(tenant, created.key.id, patch)


def _rotate(ground: Ground, tenant: Principal, created: CreatedKey) -> None:
    ground.services.keys.rotate(tenant, created.key.id)


def _overlap(ground: Ground, tenant: Principal, created: CreatedKey) -> None:
    ground.services.keys.rotate(tenant, created.key.id, overlap=timedelta(hours=1))


def _delete(ground: Ground, *_: object) -> None:
    with ground.database.write_across(Purpose.OWNER) as tx:
        tx.execute(delete(api_keys))


def _raw(ground: Ground, *_: object) -> None:
    with ground.database.write_across(Purpose.OWNER) as tx:
        tx.exec_driver_sql("UPDATE api_keys SET revoked_at = 1")


def _text(ground: Ground, *_: object) -> None:
    with ground.database.write_across(Purpose.OWNER) as tx:
        tx.execute(text("UPDATE api_keys SET revoked_at = 1"))


def _revoke_credential(ground: Ground, *_: object) -> None:
    with closing(sqlite_driver.connect(sqlite_file(ground))) as other:
        ((id,),) = other.execute("SELECT id FROM credentials")
    ground.services.credentials.revoke(id, BY)


def _raw_credential(ground: Ground, *_: object) -> None:
    with ground.database.write_across(Purpose.OWNER) as tx:
        tx.exec_driver_sql("UPDATE credentials SET revoked_at = 1")


def _rename(ground: Ground, tenant: Principal, _: CreatedKey) -> None:
    with ground.database.write(tenant.workspace_id) as tx:
        tx.execute(update(workspaces).values(name="Another"))


BY = Actor(PrincipalKind.OPERATOR, "cli", "root")
Act = Callable[[Ground, Principal, CreatedKey], object]
CHANGING: list[Act] = [
    _suspend, _revoke, _narrow, _rotate, _overlap, _delete, _raw, _text,
    _revoke_credential, _raw_credential, _rename,
]  # fmt: skip


@pytest.mark.parametrize("act", CHANGING)
def test_a_write_that_may_change_access_invalidates_commits_and_publishes(
    ground: Ground, act: Act
) -> None:
    """At the commit of a write that may change access the generation is invalid; at its answer there is a new one."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    ground.services.credentials.create("search", BY, CredentialKind.SERVICE)
    before, at_commit = generation_of(ground), []
    event.listen(
        ground.database.engine, "commit", lambda _: at_commit.append(generation_of(ground))
    )
    act(ground, tenant, created)
    assert at_commit == [INVALID]
    assert is_generation(generation_of(ground))
    assert generation_of(ground) != before


def test_a_repeated_revocation_invalidates_too(ground: Ground) -> None:
    """A second revocation goes the same way as the first."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    _revoke(ground, tenant, created)
    before = generation_of(ground)
    _revoke(ground, tenant, created)
    assert generation_of(ground) != before


def _create(ground: Ground, tenant: Principal, _: CreatedKey) -> None:
    ground.key(tenant)


def _use(ground: Ground, _: Principal, created: CreatedKey) -> None:
    ground.verify(created)
    assert ground.flush() == 1


def _push(ground: Ground, tenant: Principal, _: CreatedKey) -> None:
    documents = ground.services.documents
    documents.create_collection(tenant, CollectionDraft("notes"))
    documents.put(tenant, "notes", DocumentDraft("a", "words"))


def _make_credential(ground: Ground, *_: object) -> None:
    ground.services.credentials.create("search", BY)


@pytest.mark.parametrize("act", [_create, _use, _push, _make_credential])
def test_what_keeps_access_leaves_the_generation(ground: Ground, act: Act) -> None:
    """New keys and credentials, uses, documents and events leave cached verifications valid."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    before = generation_of(ground)
    act(ground, tenant, created)
    assert generation_of(ground) == before


# --- what publishes a generation ---


def test_a_rollback_publishes_too(ground: Ground) -> None:
    """A change that is rolled back leaves a generation."""

    def change() -> None:
        with ground.database.write_across(Purpose.OWNER) as tx:
            tx.execute(update(api_keys).values(revoked_at=None))
            assert generation_of(ground) == INVALID
            raise NotFound("Nothing.")

    with pytest.raises(NotFound):
        change()
    assert is_generation(generation_of(ground))


DYING = """
import os, sys
from datetime import UTC, datetime
from sqlalchemy import update
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.schema.tables import api_keys
database = Database(sys.argv[1])
database.generation_file.publish = lambda: os._exit(9)
with database.write_across(Purpose.OWNER) as tx:
    tx.execute(update(api_keys).values(revoked_at=datetime.now(UTC)))
    if sys.argv[2] == "before":
        os._exit(9)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_after_a_writer_that_died_the_next_publishes(ground: Ground, when: str) -> None:
    """Killed before or after its commit, it leaves INVALID: rows are read until the next write publishes."""
    created = ground.key(ground.tenant())
    assert ground.verdict(created) == ground.verdict(created) == "verified"
    dying = [sys.executable, "-c", DYING, ground.url, when]
    assert subprocess.run(dying, timeout=30, check=False).returncode == 9
    assert generation_of(ground) == INVALID
    assert ground.verdict(created) == ("verified" if when == "before" else "revoked")
    with ground.database.write_across(Purpose.SERVER):
        assert is_generation(generation_of(ground))
    assert is_generation(generation_of(ground))


def test_publishing_needs_the_lock(ground: Ground) -> None:
    """While another writer holds the lock it stays invalid, though one write ends and another cache opens the file."""
    own = generation_file_of(ground)
    with held(ground):
        own.invalidate()
        own.publish()
        assert generation_of(ground) == INVALID
        with closing(Database(ground.url)) as another:
            assert another.generation_file is not None
            another.generation_file.open()
            assert another.generation_file.is_invalid
    own.publish()
    assert is_generation(generation_of(ground))


def test_no_torn_word_is_a_generation() -> None:
    """Half of a generation and half of INVALID, as a torn read would find them, is neither."""
    fresh = {module._new_generation() for _ in range(1_000)}
    assert len({word >> 32 for word in fresh} | {word & 0xFFFFFFFF for word in fresh}) > 1_990
    for word in fresh:
        assert is_generation(word)
        assert not is_generation(word & 0xFFFFFFFF)
        assert not is_generation(word >> 32 << 32)
    assert not is_generation(INVALID)


# --- the file ---


def test_the_file_is_as_private_as_the_database(ground: Ground) -> None:
    """It has the database's permissions, and no draft of it is left over."""
    assert file_of(ground).stat().st_mode == sqlite_file(ground).stat().st_mode
    assert not list(file_of(ground).parent.glob(".*stamp*"))


def test_no_file_without_a_cache(tmp_path: Path) -> None:
    """Writing alone creates none."""
    prepare(f"sqlite:///{tmp_path / 'keystead.db'}")
    assert not list(tmp_path.glob("*stamp*"))


def test_by_another_name_it_is_the_same(ground: Ground, tmp_path: Path) -> None:
    """Through a symbolic link the same file is found, as SQLite finds the same write-ahead log."""
    link = tmp_path / "link.db"
    link.symlink_to(sqlite_file(ground))
    with closing(Database(f"sqlite:///{link}")) as other:
        assert other.generation_file is not None
        other.generation_file.open()
        assert other.generation_file.words[GENERATION] == generation_of(ground)
    assert not list(tmp_path.glob("*stamp*"))


def test_a_removed_file_is_not_trusted(ground: Ground) -> None:
    """After the next write the removed file is invalid permanently; then a new one serves."""
    own, lost = generation_file_of(ground), generation_file_of(ground).words
    file_of(ground).unlink()
    with ground.database.write_across(Purpose.SERVER):
        pass
    assert lost[GENERATION] == INVALID
    assert own.is_invalid
    own.open()
    assert own.words[GENERATION] == generation_of(ground) != INVALID


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 32, b"x" * 33])
def test_a_file_that_is_none(ground: Ground, content: bytes) -> None:
    """A file of another format is replaced by a new one."""
    file_of(ground).unlink()
    file_of(ground).write_bytes(content)
    with ground.database.write_across(Purpose.SERVER):
        pass
    assert generation_file_of(ground).is_invalid
    generation_file_of(ground).open()
    assert generation_file_of(ground).words[GENERATION] == generation_of(ground) != INVALID


def test_a_copy_has_a_file_of_its_own(ground: Ground, tmp_path: Path) -> None:
    """A database copied with its folder, as by a backup, does not take the other's generation for its own."""
    created = ground.key(ground.tenant())
    for file in sqlite_file(ground).parent.iterdir():
        shutil.copy2(file, tmp_path)
    copied = memoryview((tmp_path / "keystead.db-stamp").read_bytes()).cast("Q")[GENERATION]
    with closing(Database(f"sqlite:///{tmp_path / 'keystead.db'}")) as copy:
        assert copy.generation_file is not None
        copy.generation_file.open()
        assert copy.generation_file.words[GENERATION] not in (INVALID, copied)
    assert ground.verdict(created) == "verified"


def test_a_file_under_another_lock_is_left_invalid(ground: Ground) -> None:
    """In a file of another database's processes a writer may invalidate, and never publishes."""
    others = memoryview(bytearray(file_of(ground).read_bytes())).cast("Q")
    others[2], others[GENERATION] = others[2] + 1, module._new_generation()
    file_of(ground).unlink()
    file_of(ground).write_bytes(bytes(others))
    _delete(ground)
    assert generation_of(ground) == INVALID
    with ground.database.write_across(Purpose.SERVER):
        pass
    assert generation_of(ground) == INVALID
    generation_file_of(ground).close()
    generation_file_of(ground).open()
    assert generation_of(ground) != INVALID


def test_a_database_put_in_its_place(
    ground: Ground, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A process whose database is replaced under it trusts nothing in its cache, and logs it once."""
    prepare(f"sqlite:///{tmp_path / 'other.db'}")
    with caplog.at_level(logging.WARNING):
        (tmp_path / "other.db").replace(sqlite_file(ground))
        for _ in range(2):
            with ground.database.write_across(Purpose.SERVER):
                pass
            generation_file_of(ground).open()
    assert generation_file_of(ground).is_invalid
    assert [record.name for record in caplog.records] == [
        "keystead.storage.freshness.generation_file"
    ]
    assert "was replaced" in caplog.text


def test_a_database_moved_away_and_back(ground: Ground) -> None:
    """While it is away nothing in the cache is valid; once it is back everything is as before."""
    away = sqlite_file(ground).with_name("away.db")
    sqlite_file(ground).rename(away)
    with ground.database.write_across(Purpose.SERVER):
        pass
    assert generation_file_of(ground).is_invalid
    away.rename(sqlite_file(ground))
    generation_file_of(ground).open()
    assert not generation_file_of(ground).is_invalid


def test_a_file_that_cannot_be_opened(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    """A process that cannot invalidate revokes nothing: others may cache by the file. Writes that keep access go on."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    file_of(ground).unlink()
    file_of(ground).symlink_to("elsewhere")
    Path(file_of(ground).parent, "elsewhere").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        with pytest.raises(Unavailable):
            ground.services.keys.revoke(tenant, created.key.id)
        assert ground.verdict(created) == "verified"
        assert ground.flush() == 1
        ground.key(tenant)
    assert len(caplog.records) == 1
    file_of(ground).unlink()
    ground.services.keys.revoke(tenant, created.key.id)
    assert ground.verdict(created) == "revoked"


def no_room(**_: object) -> NoReturn:
    """Refuse, as the operating system does in a folder that is not writable."""
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_file_that_cannot_be_made(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If no file can be created next to the database every verification reads its row, which is logged once."""
    with fresh_ground(request, tmp_path_factory, "sqlite") as ground:
        tenant = ground.tenant()
        created = ground.key(tenant)
        monkeypatch.setattr("tempfile.mkstemp", no_room)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert ground.verdict(created) == "verified"
        assert generation_file_of(ground).is_invalid
        assert len(caplog.records) == 1
        ground.services.keys.revoke(tenant, created.key.id)
        assert ground.verdict(created) == "revoked"


def test_a_database_that_takes_no_writes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """If the lock is unavailable for another reason than a writer, rows are read."""
    with fresh_ground(request, tmp_path_factory, "sqlite") as ground:
        own = GenerationFile(sqlite_file(ground).with_name("absent") / "keystead.db")
        for _ in range(2):
            own.open()
            assert own.is_invalid
        own.close()


def test_closed_and_opened_again(ground: Ground) -> None:
    """The file stays, and with it the caches of other processes."""
    before = generation_of(ground)
    ground.restart()
    own = generation_file_of(ground)
    assert own.is_invalid
    own.open()
    assert is_generation(before)
    assert own.words[GENERATION] == generation_of(ground)
    assert ground.another(PEPPERS).database.generation_file is not None
