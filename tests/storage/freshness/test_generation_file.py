"""The stamp beside SQLite's file: what puts it in doubt, who takes the mark away, and what becomes of a damaged one."""

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
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from sqlalchemy import delete, event, insert, select, text, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

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
from keystead.storage.freshness.generation_file import MARK, WORD, Stamp, is_stamp
from keystead.storage.freshness.write_watch import READ, may_change_authority
from keystead.storage.schema.tables import api_keys, credentials, key_use, metadata, workspaces
from tests.installations import PEPPERS, Ground, fresh_ground, prepare, sqlite_file


@pytest.fixture
def ground(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """An embedded installation of the test's own, whose stamp is there."""
    with fresh_ground(request, tmp_path_factory, "sqlite") as ground:
        stamp_of(ground).attach()
        yield ground


def stamp_of(ground: Ground) -> Stamp:
    """The installation's own view."""
    assert ground.database.stamp is not None
    return ground.database.stamp


def file_of(ground: Ground) -> Path:
    """Where the stamp is."""
    file = sqlite_file(ground)
    return file.with_name(f"{file.name}-stamp")


def word_of(ground: Ground) -> int:
    """The word as it stands in the file."""
    return memoryview(file_of(ground).read_bytes()).cast("Q")[WORD]


@contextmanager
def held(ground: Ground) -> Iterator[None]:
    """A time in which somebody else holds the write lock."""
    with closing(sqlite_driver.connect(sqlite_file(ground), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


# --- what puts it in doubt ---


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


BY = Actor(PrincipalKind.OPERATOR, "cli", "root")
Act = Callable[[Ground, Principal, CreatedKey], object]
ENDING: list[Act] = [
    _suspend, _revoke, _narrow, _rotate, _overlap, _delete, _raw, _text,
    _revoke_credential, _raw_credential,
]  # fmt: skip


@pytest.mark.parametrize("act", ENDING)
def test_an_end_is_marked_stamped_and_then_answered(ground: Ground, act: Act) -> None:
    """At the commit of whatever ends or changes authority the mark stands; when it is answered, a fresh stamp does."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    ground.services.credentials.create("search", BY, CredentialKind.SERVICE)
    before, at_commit = word_of(ground), []
    event.listen(ground.database.engine, "commit", lambda _: at_commit.append(word_of(ground)))
    act(ground, tenant, created)
    assert at_commit == [MARK]
    assert is_stamp(word_of(ground))
    assert word_of(ground) != before


def test_an_end_that_was_there_before_is_marked_too(ground: Ground) -> None:
    """A second revocation goes the same way as the first."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    _revoke(ground, tenant, created)
    before = word_of(ground)
    _revoke(ground, tenant, created)
    assert word_of(ground) != before


def _create(ground: Ground, tenant: Principal, _: CreatedKey) -> None:
    ground.key(tenant)


def _use(ground: Ground, _: Principal, created: CreatedKey) -> None:
    ground.verify(created)
    assert ground.flush() == 1


def _push(ground: Ground, tenant: Principal, _: CreatedKey) -> None:
    documents = ground.services.documents
    documents.create_collection(tenant, CollectionDraft("notes"))
    documents.put(tenant, "notes", DocumentDraft("a", "words"))


def _rename(ground: Ground, tenant: Principal, _: CreatedKey) -> None:
    with ground.database.write(tenant.workspace_id) as tx:
        tx.execute(update(workspaces).values(name="Another"))


def _make_credential(ground: Ground, *_: object) -> None:
    ground.services.credentials.create("search", BY)


@pytest.mark.parametrize("act", [_create, _use, _push, _rename, _make_credential])
def test_what_ends_nothing_leaves_the_stamp(ground: Ground, act: Act) -> None:
    """New keys and credentials, uses, documents, events and names cost nobody what they remember."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    before = word_of(ground)
    act(ground, tenant, created)
    assert word_of(ground) == before


@pytest.mark.parametrize(
    ("statement", "parameters", "marks"),
    [
        (update(api_keys).values(revoked_at=None), {}, True),
        (update(api_keys), {"scopes": "*"}, True),
        (update(api_keys), {}, True),
        (update(api_keys).values(rotated_to=None), {}, False),
        (
            update(api_keys).ordered_values((api_keys.c.hint, ""), (api_keys.c.digest, b"")),
            {},
            True,
        ),
        (update(workspaces).values(last_event=1), {}, False),
        (update(workspaces).values({workspaces.c.suspended_at: None}), {}, True),
        (update(key_use).values(last_used_at=None), {}, False),
        (delete(workspaces), {}, True),
        (delete(key_use), {}, False),
        (update(credentials).values(revoked_at=None), {}, True),
        (update(credentials).values(digest=b""), {}, True),
        (update(credentials).values(revoked_by=None), {}, False),
        (delete(credentials), {}, True),
        (insert(credentials), {}, False),
        (text("UPDATE credentials SET name = 'x'"), {}, True),
        (insert(api_keys), {}, False),
        (insert(api_keys).prefix_with("OR REPLACE"), {}, True),
        (sqlite.insert(api_keys).on_conflict_do_nothing(), {}, True),
        (sqlite.insert(key_use).on_conflict_do_nothing(), {}, False),
        (select(api_keys), {}, False),
        (select(api_keys.c.id).union(select(workspaces.c.id)), {}, False),
        (text("SELECT 1"), {}, False),
        (text("WITH a AS (SELECT 1) DELETE FROM API_keys"), {}, True),
        (text("DELETE FROM key_use"), {}, False),
        (text("SELECT id FROM api_keys"), {}, False),
        (CreateTable(api_keys), {}, True),
    ],
    ids=str,
)
def test_which_statements_may_change_authority(
    statement: Any, parameters: dict[str, Any], marks: bool
) -> None:
    """Told by the statement itself: a change of a column that the hot statement reads, a deletion, and raw SQL."""
    told = {"column_keys": list(parameters)} if parameters else {}
    compiled = statement.compile(dialect=sqlite.dialect(), **told)

    context = SimpleNamespace(compiled=compiled)
    assert may_change_authority(context, str(compiled)) is marks


def test_what_is_read_and_by_what_it_changes() -> None:
    """The watched columns are those of the record, the join and the search; no foreign key changes them behind one."""
    assert {"revoked_at", "expires_at", "scopes", "digest", "workspace_id"} < READ["api_keys"]
    assert READ["workspaces"] == {"id", "suspended_at"}
    assert READ["credentials"] == {"id", "name", "pepper_id", "digest", "revoked_at"}
    for table in READ:
        for key in metadata.tables[table].foreign_keys:
            assert (key.ondelete, key.onupdate) == (None, None)


# --- who takes the mark away ---


def test_undone_is_settled_too(ground: Ground) -> None:
    """A change that is rolled back leaves no mark."""

    def change() -> None:
        with ground.database.write_across(Purpose.OWNER) as tx:
            tx.execute(update(api_keys).values(revoked_at=None))
            assert word_of(ground) == MARK
            raise NotFound("Nothing.")

    with pytest.raises(NotFound):
        change()
    assert is_stamp(word_of(ground))


DYING = """
import os, sys
from datetime import UTC, datetime
from sqlalchemy import update
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.schema.tables import api_keys
database = Database(sys.argv[1])
database.stamp.settle = lambda: os._exit(9)
with database.write_across(Purpose.OWNER) as tx:
    tx.execute(update(api_keys).values(revoked_at=datetime.now(UTC)))
    if sys.argv[2] == "before":
        os._exit(9)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_writer_that_dies_leaves_the_mark_to_the_next(ground: Ground, when: str) -> None:
    """Killed before or after its commit, it leaves the mark: rows are read, and the next write puts a stamp there."""
    created = ground.key(ground.tenant())
    assert ground.verdict(created) == ground.verdict(created) == "verified"
    dying = [sys.executable, "-c", DYING, ground.url, when]
    assert subprocess.run(dying, timeout=30, check=False).returncode == 9
    assert word_of(ground) == MARK
    assert ground.verdict(created) == ("verified" if when == "before" else "revoked")
    with ground.database.write_across(Purpose.SERVER):
        assert is_stamp(word_of(ground))
    assert is_stamp(word_of(ground))


def test_nobody_takes_it_away_without_the_lock(ground: Ground) -> None:
    """While somebody holds the write lock the mark stands, whoever else ends a write or begins to remember."""
    stamp = stamp_of(ground)
    with held(ground):
        stamp.doubt()
        stamp.settle()
        assert word_of(ground) == MARK
        with closing(Database(ground.url)) as another:
            assert another.stamp is not None
            another.stamp.attach()
            assert another.stamp.in_doubt
    stamp.settle()
    assert is_stamp(word_of(ground))


def test_no_torn_word_is_a_stamp() -> None:
    """Half of a stamp and half of the mark, as a torn read would find them, is neither."""
    fresh = {module._fresh() for _ in range(1_000)}
    assert len({stamp >> 32 for stamp in fresh} | {stamp & 0xFFFFFFFF for stamp in fresh}) > 1_990
    for stamp in fresh:
        assert is_stamp(stamp)
        assert not is_stamp(stamp & 0xFFFFFFFF)
        assert not is_stamp(stamp >> 32 << 32)
    assert not is_stamp(MARK)


# --- the file ---


def test_the_file_is_as_private_as_the_database(ground: Ground) -> None:
    """It has the database's rights, and is there only since somebody remembers."""
    assert file_of(ground).stat().st_mode == sqlite_file(ground).stat().st_mode
    assert not list(file_of(ground).parent.glob(".*stamp*"))


def test_no_file_where_nobody_remembers(tmp_path: Path) -> None:
    """Writing alone makes none."""
    prepare(f"sqlite:///{tmp_path / 'keystead.db'}")
    assert not list(tmp_path.glob("*stamp*"))


def test_by_another_name_it_is_the_same(ground: Ground, tmp_path: Path) -> None:
    """Through a symbolic link the same stamp is found, as SQLite finds the same write-ahead log."""
    link = tmp_path / "link.db"
    link.symlink_to(sqlite_file(ground))
    with closing(Database(f"sqlite:///{link}")) as other:
        assert other.stamp is not None
        other.stamp.attach()
        assert other.stamp.words[WORD] == word_of(ground)
    assert not list(tmp_path.glob("*stamp*"))


def test_a_file_taken_away_is_trusted_by_nobody(ground: Ground) -> None:
    """Once anybody has written, the lost file's last word is the mark; then a new one serves."""
    stamp, lost = stamp_of(ground), stamp_of(ground).words
    file_of(ground).unlink()
    with ground.database.write_across(Purpose.SERVER):
        pass
    assert lost[WORD] == MARK
    assert stamp.in_doubt
    stamp.attach()
    assert stamp.words[WORD] == word_of(ground) != MARK


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 32, b"x" * 33])
def test_a_file_that_is_none(ground: Ground, content: bytes) -> None:
    """What is no stamp is put aside for a new one."""
    file_of(ground).unlink()
    file_of(ground).write_bytes(content)
    with ground.database.write_across(Purpose.SERVER):
        pass
    assert stamp_of(ground).in_doubt
    stamp_of(ground).attach()
    assert stamp_of(ground).words[WORD] == word_of(ground) != MARK


def test_a_copy_has_a_stamp_of_its_own(ground: Ground, tmp_path: Path) -> None:
    """A database copied with the file beside it, as by a backup of the folder, takes no other's word for its own."""
    created = ground.key(ground.tenant())
    for file in sqlite_file(ground).parent.iterdir():
        shutil.copy2(file, tmp_path)
    copied = memoryview((tmp_path / "keystead.db-stamp").read_bytes()).cast("Q")[WORD]
    with closing(Database(f"sqlite:///{tmp_path / 'keystead.db'}")) as copy:
        assert copy.stamp is not None
        copy.stamp.attach()
        assert copy.stamp.words[WORD] not in (MARK, copied)
    assert ground.verdict(created) == "verified"


def test_a_mark_of_another_lock_is_let_be(ground: Ground) -> None:
    """In a file that another database's processes share a writer may put the mark, and never takes it away."""
    others = memoryview(bytearray(file_of(ground).read_bytes())).cast("Q")
    others[2], others[WORD] = others[2] + 1, module._fresh()
    file_of(ground).unlink()
    file_of(ground).write_bytes(bytes(others))
    _delete(ground)
    assert word_of(ground) == MARK
    with ground.database.write_across(Purpose.SERVER):
        pass
    assert word_of(ground) == MARK
    stamp_of(ground).close()
    stamp_of(ground).attach()
    assert word_of(ground) != MARK


def test_a_database_put_in_its_place(
    ground: Ground, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A process whose database is replaced under it trusts nothing that it remembers, and says so once."""
    prepare(f"sqlite:///{tmp_path / 'other.db'}")
    with caplog.at_level(logging.WARNING):
        (tmp_path / "other.db").replace(sqlite_file(ground))
        for _ in range(2):
            with ground.database.write_across(Purpose.SERVER):
                pass
            stamp_of(ground).attach()
    assert stamp_of(ground).in_doubt
    assert [record.name for record in caplog.records] == [
        "keystead.storage.freshness.generation_file"
    ]
    assert "was replaced" in caplog.text


def test_a_database_moved_away_and_back(ground: Ground) -> None:
    """While it is away nothing that is remembered counts; once it is back everything is as before."""
    away = sqlite_file(ground).with_name("away.db")
    sqlite_file(ground).rename(away)
    with ground.database.write_across(Purpose.SERVER):
        pass
    assert stamp_of(ground).in_doubt
    away.rename(sqlite_file(ground))
    stamp_of(ground).attach()
    assert not stamp_of(ground).in_doubt


def test_a_file_that_cannot_be_opened(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    """Who cannot put the mark ends nothing: others may remember by that file. Everything else goes on."""
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
    """What the operating system says in a folder that takes no file."""
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_file_that_cannot_be_made(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no file can be put beside the database every verification reads its row, which is said once."""
    with fresh_ground(request, tmp_path_factory, "sqlite") as ground:
        tenant = ground.tenant()
        created = ground.key(tenant)
        monkeypatch.setattr("tempfile.mkstemp", no_room)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert ground.verdict(created) == "verified"
        assert stamp_of(ground).in_doubt
        assert len(caplog.records) == 1
        ground.services.keys.revoke(tenant, created.key.id)
        assert ground.verdict(created) == "revoked"


def test_a_database_that_takes_no_writes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where the lock cannot be had for another reason than a writer, rows are read."""
    with fresh_ground(request, tmp_path_factory, "sqlite") as ground:
        stamp = Stamp(sqlite_file(ground).with_name("absent") / "keystead.db")
        for _ in range(2):
            stamp.attach()
            assert stamp.in_doubt
        stamp.close()


def test_closed_and_opened_again(ground: Ground) -> None:
    """The file stays, and with it what others remember."""
    before = word_of(ground)
    ground.restart()
    stamp = stamp_of(ground)
    assert stamp.in_doubt
    stamp.attach()
    assert is_stamp(before)
    assert stamp.words[WORD] == word_of(ground)
    assert ground.another(PEPPERS).database.stamp is not None
