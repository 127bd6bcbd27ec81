"""A restored backup revives no key that was revoked since: the server refuses it, and `restore` revokes again."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keystead import bootstrap
from keystead.cli.installation import actor
from keystead.domain.disuse import Disuse
from keystead.domain.errors import NotFound
from keystead.domain.ids import KeyId
from keystead.domain.key_lifecycle import LifecycleKind
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import operator
from keystead.domain.revocation_log import parse_entries
from keystead.operation.files import ConfigurationError
from keystead.settings import Settings
from keystead.storage.maintenance import backup
from keystead.storage.tables import key_lifecycle
from tests.support.acknowledged_changes import DEAD, LIVE, at_work, verify
from tests.support.clocks import NOON
from tests.support.installations import text_of
from tests.support.postgres import PostgresServer
from tests.support.processes import CommandResult, run_apart
from tests.support.server_process import ServerProcess, serving

CONFIGURATION = 78


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server over SQLite whose first workspace has no limits."""
    with serving(f"sqlite:///{tmp_path / 'data' / 'keystead.db'}") as server:
        server.put_on("scale")
        yield server


def create(server: ServerProcess, token: str) -> dict[str, str]:
    """Create a key. Returns it with its token."""
    response = server.call("POST", "/v1/keys", token=token, json={"description": "key"})
    assert response.status_code == 201
    return {"id": response.json()["id"], "token": response.json()["token"]}


def revoke(server: ServerProcess, token: str, key: dict[str, str]) -> None:
    """Revoke a key, acknowledged."""
    assert server.call("DELETE", f"/v1/keys/{key['id']}", token=token).status_code == 204


def begin(server: ServerProcess) -> CommandResult:
    """Start a server that is expected to refuse."""
    for name in ("output", "log"):
        (server.data / name).unlink(missing_ok=True)
    return run_apart(("serve", "--port", str(server.port)), server._environment(), server.data)


def restore(server: ServerProcess, *arguments: str) -> dict[str, Any]:
    """Run `keystead restore`. Returns its output."""
    done = server.cli("restore", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def copied(server: ServerProcess, folder: Path) -> Path:
    """Copy the database's own files, while no process uses them."""
    folder.mkdir()
    for file in server.data.glob("keystead.db*"):
        if file.suffix in {".db", ".db-wal"}:
            shutil.copy2(file, folder)
    return folder


def put_back(server: ServerProcess, folder: Path) -> None:
    """Put those files in the place of the database's."""
    for file in server.data.glob("keystead.db*"):
        file.unlink()
    for file in folder.iterdir():
        shutil.copy2(file, server.data)


@pytest.mark.slow
def test_a_hundred_keys_that_were_revoked_since_the_backup_stay_dead(
    embedded: ServerProcess, tmp_path: Path
) -> None:
    """Backup, 100 revocations, restore: 0 of 100 are accepted; the others work, and keys created since are unknown."""
    token = embedded.token()
    doomed, spared = [create(embedded, token) for _ in range(100)], create(embedded, token)
    file = tmp_path / "backup"
    assert embedded.cli("backup", str(file)).returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for key in doomed:
        revoke(embedded, token, key)
    late = create(embedded, token)
    refused = embedded.cli("restore", str(file))
    assert refused.returncode == CONFIGURATION
    assert "Stop the server first" in refused.stderr
    embedded.stop()
    report = restore(embedded, str(file))
    assert report["done_again"] == {"keys revoked": 100}
    assert Path(report["kept"]).exists()
    embedded.start()
    assert {verify(embedded, key["token"]) for key in doomed} == {DEAD}
    assert (verify(embedded, spared["token"]), verify(embedded, late["token"])) == (LIVE, DEAD)
    embedded.stop()
    embedded.start()
    assert restore(embedded)["done_again"] == {}


@pytest.mark.slow
def test_the_announced_ends_of_unused_keys_are_forgotten(
    embedded: ServerProcess, tmp_path: Path
) -> None:
    """No notice in a backup ends a key in the restored database: it may have been used since."""
    key_id = KeyId(create(embedded, embedded.token())["id"])
    embedded.stop()
    file, marks = tmp_path / "backup", []
    for number in range(2):
        if number:
            assert embedded.cli("backup", str(file)).returncode == 0
            restore(embedded, str(file), "--accept")
        installation = bootstrap.open_safely(embedded.settings)
        workspace_id = installation.services.workspaces.first().workspace_id
        with installation.database.write(workspace_id) as tx:
            if not number:
                notice = Disuse(NOON, 1, NOON + timedelta(days=44))
                kind = LifecycleKind.UNUSED
                key_lifecycle.note_notice(tx, workspace_id, key_id, kind, notice.mark, NOON)
            marks.append(key_lifecycle.find_mark(tx, workspace_id, key_id, LifecycleKind.UNUSED))
        installation.close()
    assert marks == [Disuse(NOON, 1, NOON + timedelta(days=44)).mark, None]


@pytest.mark.slow
def test_a_backup_that_is_put_in_place_by_hand_is_refused(
    embedded: ServerProcess, tmp_path: Path
) -> None:
    """With only the file and the peppers, the server does not start on a backup as it was taken."""
    token = embedded.token()
    file = tmp_path / "backup"
    embedded.cli("backup", str(file))
    embedded.stop()
    for old in embedded.data.glob("keystead.db*"):
        old.unlink()
    shutil.copy(file, embedded.data / "keystead.db")
    (embedded.data / "keystead.db").chmod(0o600)
    ended = begin(embedded)
    assert ended.code == CONFIGURATION
    assert "keystead restore" in ended.log
    undecided = embedded.cli("restore")
    assert undecided.returncode == CONFIGURATION
    assert "--hold" in undecided.stderr
    assert restore(embedded, "--hold")["held"] == 1
    embedded.start()
    assert verify(embedded, token) == DEAD


@pytest.mark.slow
def test_a_copy_of_the_files_is_found_to_be_old(embedded: ServerProcess, tmp_path: Path) -> None:
    """Without `keystead backup`, an old copy of the database's files is refused because of the revocation log."""
    token = embedded.token()
    key = create(embedded, token)
    embedded.stop()
    folder = copied(embedded, tmp_path / "copy")
    embedded.start()
    revoke(embedded, token, key)
    embedded.kill()
    put_back(embedded, folder)
    ended = begin(embedded)
    assert ended.code == CONFIGURATION
    assert "lacks 1 revocation," in ended.log
    assert embedded.cli("keys", "list").returncode == CONFIGURATION
    assert restore(embedded)["done_again"] == {"keys revoked": 1}
    embedded.start()
    assert verify(embedded, key["token"]) == DEAD


@pytest.mark.slow
def test_everything_that_took_authority_away_is_done_again(
    embedded: ServerProcess, tmp_path: Path
) -> None:
    """A rotated and a narrowed key, a suspended workspace, a credential, sessions: each revocation is applied again."""
    token = embedded.token()
    rotated, narrowed, renamed = (create(embedded, token) for _ in range(3))
    installation = bootstrap.open_safely(embedded.settings)
    services = installation.services
    other = services.workspaces.create("Other", plan_id="scale")
    credential, _ = services.credentials.create("product", actor())
    file = tmp_path / "backup"
    embedded.cli("backup", str(file))
    for path, body in (
        (f"{rotated['id']}/rotate", {}),
        (narrowed["id"], {"scopes": ["keys:read"]}),
    ):
        method = "POST" if body == {} else "PATCH"
        assert embedded.call(method, f"/v1/keys/{path}", token=token, json=body).is_success
    embedded.call("PATCH", f"/v1/keys/{renamed['id']}", token=token, json={"description": "new"})
    services.workspaces.suspend(other.id)
    services.credentials.revoke(credential.id, actor())
    installation.close()
    embedded.stop()
    done = restore(embedded, str(file))["done_again"]
    assert done == {"keys revoked": 2, "workspaces suspended": 1, "credentials revoked": 1}
    embedded.start()
    dead = [verify(embedded, key["token"]) for key in (rotated, narrowed)]
    assert (dead, verify(embedded, renamed["token"])) == ([DEAD, DEAD], LIVE)


@pytest.mark.prove
def test_a_backup_of_a_server_at_work_is_whole(embedded: ServerProcess, tmp_path: Path) -> None:
    """A backup taken while four clients create and revoke is sound, and has everything acknowledged before it."""
    token = embedded.token()
    file = tmp_path / "backup"
    with at_work([embedded], token) as changes_by_client:
        before = {key for changes in changes_by_client for key in list(changes.created)}
        assert embedded.cli("backup", str(file)).returncode == 0
    embedded.stop()
    restore(embedded, str(file))
    embedded.start()
    listed = {
        key: verify(embedded, changes.created[key])
        for changes in changes_by_client
        for key in changes.created
    }
    revoked = {key for changes in changes_by_client for key in changes.revoked}
    assert all(listed[key] == DEAD for key in revoked)
    assert all(listed[key] == LIVE for key in before - revoked)


@pytest.mark.slow
def test_an_older_postgresql_is_refused_until_restored(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """A dump restored after a revocation: every server that acknowledged one refuses, until it is applied again."""
    name = postgres.create_database()
    with serving(postgres.dsn(name)) as server:
        server.put_on("scale")
        token = server.token()
        doomed, spared = create(server, token), create(server, token)
        server.stop()
        old = postgres.create_database(template=name)
        server.start()
        revoke(server, token, doomed)
        server.stop()
        server.database_url = server.database_url.replace(name, old)
        ended = begin(server)
        assert ended.code == CONFIGURATION
        assert "older than the one" in ended.log
        assert restore(server)["done_again"] == {"keys revoked": 1}
        server.start()
        assert verify(server, doomed["token"]) == DEAD
        assert verify(server, spared["token"]) == LIVE


@pytest.mark.slow
def test_a_deleted_workspace_is_not_revived(embedded: ServerProcess, tmp_path: Path) -> None:
    """A backup from before a deletion: restoring it deletes the workspace again, and its key stays dead."""
    installation = bootstrap.open_safely(embedded.settings)
    services = installation.services
    ended, spared = (services.workspaces.create(name, plan_id="scale") for name in ("A", "B"))
    keys = [
        services.keys.create(operator("tests", each.id), KeyDraft("key"))
        for each in (ended, spared)
    ]
    tokens = [text_of(key) for key in keys]
    file = tmp_path / "backup"
    assert embedded.cli("backup", str(file)).returncode == 0
    services.keys.revoke(operator("tests", ended.id), keys[0].key.id)
    services.workspaces.suspend(ended.id)
    services.deletion.delete(ended.id)
    services.deletion.purge()
    installation.close()
    # The database knows the deletion: what happened in the workspace before isn't missed.
    embedded.stop()
    embedded.start()
    embedded.stop()
    report = restore(embedded, str(file))
    assert report["done_again"]["workspaces deleted"] == 1
    assert report["to_look_at"] == []
    embedded.start()
    assert [verify(embedded, token) for token in tokens] == [DEAD, LIVE]
    installation = bootstrap.open_safely(embedded.settings)
    with pytest.raises(NotFound):
        installation.services.workspaces.get(ended.id)
    installation.services.deletion.purge()
    installation.close()
    embedded.stop()
    embedded.start()
    assert restore_again(embedded) == {}


@pytest.mark.slow
def test_an_older_postgresql_does_not_revive_a_workspace(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """A dump from before a deletion is refused by the server that deleted, until the deletion is repeated."""
    name = postgres.create_database()
    with serving(postgres.dsn(name)) as server:
        installation = bootstrap.open_safely(server.settings)
        ended = installation.services.workspaces.create("A", plan_id="scale")
        installation.close()
        server.stop()
        old = postgres.create_database(template=name)
        installation = bootstrap.open_safely(server.settings)
        installation.services.workspaces.suspend(ended.id)
        installation.services.deletion.delete(ended.id)
        installation.services.deletion.purge()
        installation.close()
        server.database_url = server.database_url.replace(name, old)
        assert begin(server).code == CONFIGURATION
        assert restore(server)["done_again"]["workspaces deleted"] == 1
        server.start()
        installation = bootstrap.open_safely(server.settings)
        with pytest.raises(NotFound):
            installation.services.workspaces.get(ended.id)
        installation.close()


def restore_again(server: ServerProcess) -> dict[str, Any]:
    """Stop the server, and return what a restore in place finds to repeat."""
    server.stop()
    done: dict[str, Any] = restore(server)["done_again"]
    return done


def test_the_journal_is_written_before_the_answer(embedded: ServerProcess) -> None:
    """Each acknowledged revocation is in the private file before its response; creations are not in it."""
    token = embedded.token()
    keys = [create(embedded, token) for _ in range(3)]
    journal = embedded.data / "endings"
    for number, key in enumerate(keys, 1):
        revoke(embedded, token, key)
        written = parse_entries(journal.read_bytes())
        assert len(written) == number
        assert written[-1].target_id == key["id"]
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    revoke(embedded, token, keys[0])
    assert len(parse_entries(journal.read_bytes())) == 3


def test_a_torn_line_of_the_revocation_log_is_skipped() -> None:
    """A line that a crash left half-written is skipped, and the lines after it count."""
    whole = b"\n2026-01-01T00:00:00Z key.revoked ws_1 7 key_1 ;\n"
    assert [entry.target_id for entry in parse_entries(whole + whole[:-9] + whole)] == ["key_1"] * 2


@pytest.mark.prove
def test_a_backup_overwrites_nothing(embedded: ServerProcess, tmp_path: Path) -> None:
    """An existing file stays as it is; one that cannot be written is reported in one line."""
    file = tmp_path / "backup"
    file.write_text("precious")
    assert embedded.cli("backup", str(file)).returncode == CONFIGURATION
    assert file.read_text() == "precious"
    away = embedded.cli("backup", str(tmp_path / "nowhere" / "backup"))
    assert (away.returncode, away.stderr.count("\n")) == (CONFIGURATION, 1)


def test_a_backup_writes_into_no_file_of_others(tmp_path: Path) -> None:
    """A file at the target, a dangling link too, or at a name next to it, is neither written nor followed."""
    settings = Settings(data=tmp_path / "data")
    bootstrap.prepare(settings)
    target, elsewhere = tmp_path / "shared" / "backup", tmp_path / "elsewhere"
    target.parent.mkdir(mode=0o777)
    guessed = target.with_name(f".backup.{os.getpid()}")
    guessed.write_bytes(b"")
    guessed.chmod(0o666)
    bootstrap.back_up(settings, target)
    assert guessed.read_bytes() == b""
    assert (stat.S_IMODE(target.stat().st_mode), target.stat().st_nlink) == (0o600, 1)
    assert {file.name for file in target.parent.iterdir()} == {"backup", guessed.name}
    target.unlink()
    target.symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match="never overwrites"):
        bootstrap.back_up(settings, target)
    assert not elsewhere.exists()


def test_a_target_that_appears_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that appears at the target during the copy is an error, and is not overwritten."""
    settings, target = Settings(data=tmp_path / "data"), tmp_path / "backup"
    bootstrap.prepare(settings)
    back_up = backup.back_up

    def slow(source: Path, draft: Path) -> None:
        back_up(source, draft)
        target.write_text("precious")

    monkeypatch.setattr(backup, "back_up", slow)
    with pytest.raises(ConfigurationError, match="never overwrites"):
        bootstrap.back_up(settings, target)
    assert target.read_text() == "precious"
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["backup"]


@pytest.mark.prove
def test_a_damaged_backup_is_refused(embedded: ServerProcess, tmp_path: Path) -> None:
    """A file that is not a database, and one with an overwritten page, replace nothing."""
    token = embedded.token()
    file = tmp_path / "backup"
    embedded.cli("backup", str(file))
    embedded.stop()
    broken = tmp_path / "broken"
    broken.write_bytes(b"no database" * 1000)
    pages = file.read_bytes()
    torn = tmp_path / "torn"
    torn.write_bytes(pages[:8192] + os.urandom(16384) + pages[24576:])
    for bad in (broken, torn):
        assert embedded.cli("restore", str(bad), "--accept").returncode != 0
    embedded.start()
    assert verify(embedded, token) == LIVE
