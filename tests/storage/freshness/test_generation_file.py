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
from keystead.services.key_issuer import CreatedKey
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
from tests.support.installations import (
    PEPPERS,
    SandboxInstallation,
    fresh_sandbox,
    prepare,
    sqlite_file,
)


@pytest.fixture
def sandbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxInstallation]:
    """An embedded installation of the test's own, with a generation file."""
    with fresh_sandbox(request, tmp_path_factory, "sqlite") as sandbox:
        generation_file_of(sandbox).open()
        yield sandbox


def generation_file_of(sandbox: SandboxInstallation) -> GenerationFile:
    """Return the installation's own view."""
    assert sandbox.database.generation_file is not None
    return sandbox.database.generation_file


def file_of(sandbox: SandboxInstallation) -> Path:
    """Return the path of the generation file."""
    file = sqlite_file(sandbox)
    return file.with_name(f"{file.name}-stamp")


def generation_of(sandbox: SandboxInstallation) -> int:
    """Return the generation that the file has."""
    return memoryview(file_of(sandbox).read_bytes()).cast("Q")[GENERATION]


@contextmanager
def held(sandbox: SandboxInstallation) -> Iterator[None]:
    """Hold another writer's lock for the block."""
    with closing(sqlite_driver.connect(sqlite_file(sandbox), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


# --- what invalidates it ---


def _suspend(sandbox: SandboxInstallation, tenant: Principal, _: CreatedKey) -> None:
    sandbox.services.workspaces.suspend(tenant.workspace_id)


def _revoke(sandbox: SandboxInstallation, tenant: Principal, created: CreatedKey) -> None:
    sandbox.services.keys.revoke(tenant, created.key.id)


def _narrow(sandbox: SandboxInstallation, tenant: Principal, created: CreatedKey) -> None:
    patch = KeyPatch(scopes=Scopes(["keys:read"]))
    sandbox.services.keys.update(tenant, created.key.id, patch)


def _rotate(sandbox: SandboxInstallation, tenant: Principal, created: CreatedKey) -> None:
    sandbox.services.rotations.rotate(tenant, created.key.id)


def _overlap(sandbox: SandboxInstallation, tenant: Principal, created: CreatedKey) -> None:
    sandbox.services.rotations.rotate(tenant, created.key.id, overlap=timedelta(hours=1))


def _delete(sandbox: SandboxInstallation, *_: object) -> None:
    with sandbox.database.write_across(Purpose.OWNER) as tx:
        tx.execute(delete(api_keys))


def _raw(sandbox: SandboxInstallation, *_: object) -> None:
    with sandbox.database.write_across(Purpose.OWNER) as tx:
        tx.exec_driver_sql("UPDATE api_keys SET revoked_at = 1")


def _text(sandbox: SandboxInstallation, *_: object) -> None:
    with sandbox.database.write_across(Purpose.OWNER) as tx:
        tx.execute(text("UPDATE api_keys SET revoked_at = 1"))


def _revoke_credential(sandbox: SandboxInstallation, *_: object) -> None:
    with closing(sqlite_driver.connect(sqlite_file(sandbox))) as other:
        ((id,),) = other.execute("SELECT id FROM credentials")
    sandbox.services.credentials.revoke(id, BY)


def _raw_credential(sandbox: SandboxInstallation, *_: object) -> None:
    with sandbox.database.write_across(Purpose.OWNER) as tx:
        tx.exec_driver_sql("UPDATE credentials SET revoked_at = 1")


def _rename(sandbox: SandboxInstallation, tenant: Principal, _: CreatedKey) -> None:
    with sandbox.database.write(tenant.workspace_id) as tx:
        tx.execute(update(workspaces).values(name="Another"))


BY = Actor(PrincipalKind.OPERATOR, "cli", "root")
Act = Callable[[SandboxInstallation, Principal, CreatedKey], object]
CHANGING: list[Act] = [
    _suspend, _revoke, _narrow, _rotate, _overlap, _delete, _raw, _text,
    _revoke_credential, _raw_credential, _rename,
]  # fmt: skip


@pytest.mark.parametrize("act", CHANGING)
def test_a_write_that_may_change_access_invalidates_commits_and_publishes(
    sandbox: SandboxInstallation, act: Act
) -> None:
    """At the commit of a write that may change access the generation is invalid; at its answer there is a new one."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    sandbox.services.credentials.create("search", BY, CredentialKind.SERVICE)
    before, at_commit = generation_of(sandbox), []
    event.listen(
        sandbox.database.engine, "commit", lambda _: at_commit.append(generation_of(sandbox))
    )
    act(sandbox, tenant, created)
    assert at_commit == [INVALID]
    assert is_generation(generation_of(sandbox))
    assert generation_of(sandbox) != before


def test_a_repeated_revocation_invalidates_too(sandbox: SandboxInstallation) -> None:
    """A second revocation goes the same way as the first."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    _revoke(sandbox, tenant, created)
    before = generation_of(sandbox)
    _revoke(sandbox, tenant, created)
    assert generation_of(sandbox) != before


def _create(sandbox: SandboxInstallation, tenant: Principal, _: CreatedKey) -> None:
    sandbox.key(tenant)


def _use(sandbox: SandboxInstallation, _: Principal, created: CreatedKey) -> None:
    sandbox.verify(created)
    assert sandbox.flush() == 1


def _push(sandbox: SandboxInstallation, tenant: Principal, _: CreatedKey) -> None:
    documents = sandbox.services.documents
    documents.create_collection(tenant, CollectionDraft("notes"))
    documents.put(tenant, "notes", DocumentDraft("a", "words"))


def _make_credential(sandbox: SandboxInstallation, *_: object) -> None:
    sandbox.services.credentials.create("search", BY)


@pytest.mark.parametrize("act", [_create, _use, _push, _make_credential])
def test_what_keeps_access_leaves_the_generation(sandbox: SandboxInstallation, act: Act) -> None:
    """New keys and credentials, uses, documents and events leave cached verifications valid."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    before = generation_of(sandbox)
    act(sandbox, tenant, created)
    assert generation_of(sandbox) == before


# --- what publishes a generation ---


def test_a_rollback_publishes_too(sandbox: SandboxInstallation) -> None:
    """A change that is rolled back leaves a generation."""

    def change() -> None:
        with sandbox.database.write_across(Purpose.OWNER) as tx:
            tx.execute(update(api_keys).values(revoked_at=None))
            assert generation_of(sandbox) == INVALID
            raise NotFound("Nothing.")

    with pytest.raises(NotFound):
        change()
    assert is_generation(generation_of(sandbox))


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
def test_after_a_writer_that_died_the_next_publishes(
    sandbox: SandboxInstallation, when: str
) -> None:
    """Killed before or after its commit, it leaves INVALID: rows are read until the next write publishes."""
    created = sandbox.key(sandbox.tenant())
    assert sandbox.verdict(created) == sandbox.verdict(created) == "verified"
    dying = [sys.executable, "-c", DYING, sandbox.url, when]
    assert subprocess.run(dying, timeout=30, check=False).returncode == 9
    assert generation_of(sandbox) == INVALID
    assert sandbox.verdict(created) == ("verified" if when == "before" else "revoked")
    with sandbox.database.write_across(Purpose.SERVER):
        assert is_generation(generation_of(sandbox))
    assert is_generation(generation_of(sandbox))


def test_publishing_needs_the_lock(sandbox: SandboxInstallation) -> None:
    """While another writer holds the lock it stays invalid, though one write ends and another cache opens the file."""
    own = generation_file_of(sandbox)
    with held(sandbox):
        own.invalidate()
        own.publish()
        assert generation_of(sandbox) == INVALID
        with closing(Database(sandbox.url)) as another:
            assert another.generation_file is not None
            another.generation_file.open()
            assert another.generation_file.is_invalid
    own.publish()
    assert is_generation(generation_of(sandbox))


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


def test_the_file_is_as_private_as_the_database(sandbox: SandboxInstallation) -> None:
    """It has the database's permissions, and no draft of it is left over."""
    assert file_of(sandbox).stat().st_mode == sqlite_file(sandbox).stat().st_mode
    assert not list(file_of(sandbox).parent.glob(".*stamp*"))


def test_no_file_without_a_cache(tmp_path: Path) -> None:
    """Writing alone creates none."""
    prepare(f"sqlite:///{tmp_path / 'keystead.db'}")
    assert not list(tmp_path.glob("*stamp*"))


def test_by_another_name_it_is_the_same(sandbox: SandboxInstallation, tmp_path: Path) -> None:
    """Through a symbolic link the same file is found, as SQLite finds the same write-ahead log."""
    link = tmp_path / "link.db"
    link.symlink_to(sqlite_file(sandbox))
    with closing(Database(f"sqlite:///{link}")) as other:
        assert other.generation_file is not None
        other.generation_file.open()
        assert other.generation_file.words[GENERATION] == generation_of(sandbox)
    assert not list(tmp_path.glob("*stamp*"))


def test_a_removed_file_is_not_trusted(sandbox: SandboxInstallation) -> None:
    """After the next write the removed file is invalid permanently; then a new one serves."""
    own, lost = generation_file_of(sandbox), generation_file_of(sandbox).words
    file_of(sandbox).unlink()
    with sandbox.database.write_across(Purpose.SERVER):
        pass
    assert lost[GENERATION] == INVALID
    assert own.is_invalid
    own.open()
    assert own.words[GENERATION] == generation_of(sandbox) != INVALID


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 32, b"x" * 33])
def test_a_file_of_another_format(sandbox: SandboxInstallation, content: bytes) -> None:
    """A file of another format is replaced by a new one."""
    file_of(sandbox).unlink()
    file_of(sandbox).write_bytes(content)
    with sandbox.database.write_across(Purpose.SERVER):
        pass
    assert generation_file_of(sandbox).is_invalid
    generation_file_of(sandbox).open()
    assert generation_file_of(sandbox).words[GENERATION] == generation_of(sandbox) != INVALID


def test_a_copy_has_a_file_of_its_own(sandbox: SandboxInstallation, tmp_path: Path) -> None:
    """A database copied with its folder, as by a backup, does not take the other's generation for its own."""
    created = sandbox.key(sandbox.tenant())
    for file in sqlite_file(sandbox).parent.iterdir():
        shutil.copy2(file, tmp_path)
    copied = memoryview((tmp_path / "keystead.db-stamp").read_bytes()).cast("Q")[GENERATION]
    with closing(Database(f"sqlite:///{tmp_path / 'keystead.db'}")) as copy:
        assert copy.generation_file is not None
        copy.generation_file.open()
        assert copy.generation_file.words[GENERATION] not in (INVALID, copied)
    assert sandbox.verdict(created) == "verified"


def test_a_file_under_another_lock_is_left_invalid(sandbox: SandboxInstallation) -> None:
    """In a file of another database's processes a writer may invalidate, and never publishes."""
    others = memoryview(bytearray(file_of(sandbox).read_bytes())).cast("Q")
    others[2], others[GENERATION] = others[2] + 1, module._new_generation()
    file_of(sandbox).unlink()
    file_of(sandbox).write_bytes(bytes(others))
    _delete(sandbox)
    assert generation_of(sandbox) == INVALID
    with sandbox.database.write_across(Purpose.SERVER):
        pass
    assert generation_of(sandbox) == INVALID
    generation_file_of(sandbox).close()
    generation_file_of(sandbox).open()
    assert generation_of(sandbox) != INVALID


def test_a_database_put_in_its_place(
    sandbox: SandboxInstallation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A process whose database is replaced under it trusts nothing in its cache, and logs it once."""
    prepare(f"sqlite:///{tmp_path / 'other.db'}")
    with caplog.at_level(logging.WARNING):
        (tmp_path / "other.db").replace(sqlite_file(sandbox))
        for _ in range(2):
            with sandbox.database.write_across(Purpose.SERVER):
                pass
            generation_file_of(sandbox).open()
    assert generation_file_of(sandbox).is_invalid
    assert [record.name for record in caplog.records] == [
        "keystead.storage.freshness.generation_file"
    ]
    assert "was replaced" in caplog.text


def test_a_database_moved_away_and_back(sandbox: SandboxInstallation) -> None:
    """While it is away nothing in the cache is valid; once it is back everything is as before."""
    away = sqlite_file(sandbox).with_name("away.db")
    sqlite_file(sandbox).rename(away)
    with sandbox.database.write_across(Purpose.SERVER):
        pass
    assert generation_file_of(sandbox).is_invalid
    away.rename(sqlite_file(sandbox))
    generation_file_of(sandbox).open()
    assert not generation_file_of(sandbox).is_invalid


def test_a_file_that_cannot_be_opened(
    sandbox: SandboxInstallation, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that cannot invalidate revokes nothing: others may cache by the file. Writes that keep access go on."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    file_of(sandbox).unlink()
    file_of(sandbox).symlink_to("elsewhere")
    Path(file_of(sandbox).parent, "elsewhere").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        with pytest.raises(Unavailable):
            sandbox.services.keys.revoke(tenant, created.key.id)
        assert sandbox.verdict(created) == "verified"
        assert sandbox.flush() == 1
        sandbox.key(tenant)
    assert len(caplog.records) == 1
    file_of(sandbox).unlink()
    sandbox.services.keys.revoke(tenant, created.key.id)
    assert sandbox.verdict(created) == "revoked"


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
    with fresh_sandbox(request, tmp_path_factory, "sqlite") as sandbox:
        tenant = sandbox.tenant()
        created = sandbox.key(tenant)
        monkeypatch.setattr("tempfile.mkstemp", no_room)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert sandbox.verdict(created) == "verified"
        assert generation_file_of(sandbox).is_invalid
        assert len(caplog.records) == 1
        sandbox.services.keys.revoke(tenant, created.key.id)
        assert sandbox.verdict(created) == "revoked"


def test_a_database_that_takes_no_writes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """If the lock is unavailable for another reason than a writer, rows are read."""
    with fresh_sandbox(request, tmp_path_factory, "sqlite") as sandbox:
        own = GenerationFile(sqlite_file(sandbox).with_name("absent") / "keystead.db")
        for _ in range(2):
            own.open()
            assert own.is_invalid
        own.close()


def test_closed_and_opened_again(sandbox: SandboxInstallation) -> None:
    """The file stays, and with it the caches of other processes."""
    before = generation_of(sandbox)
    sandbox.restart()
    own = generation_file_of(sandbox)
    assert own.is_invalid
    own.open()
    assert is_generation(before)
    assert own.words[GENERATION] == generation_of(sandbox)
    assert sandbox.another(PEPPERS).database.generation_file is not None
