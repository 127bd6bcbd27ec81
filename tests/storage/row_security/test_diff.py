"""Row-level security on PostgreSQL: it holds when a WHERE is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

import psycopg
import pytest
from sqlalchemy import text

from keystead.domain.errors import Unavailable
from keystead.domain.ids import WorkspaceId
from keystead.storage.database import Database, Tx
from keystead.storage.engine.errors import StatementFault
from keystead.storage.engine.roles import APPLICATION, PURPOSES, ROLES, SETTING, Purpose
from keystead.storage.row_security import diff as row_security
from keystead.storage.row_security.diff import SERVER_ROLE
from keystead.storage.row_security.grants import GRANTS, LOGIN, OPEN_TABLES, TENANT_ROWS, role_name
from keystead.storage.schema import tables as schema
from tests.support.administrator import read_behind, write_behind
from tests.support.postgres import PostgresServer
from tests.support.row_security import installed_database, server_url
from tests.support.tenant_rows import (
    OURS,
    THEIRS,
    Rollback,
    fill,
    interleave,
    needed_columns,
    row_of,
)

TENANT_TABLES: Final = sorted(TENANT_ROWS)
FORBIDDEN: Final = "42501"


@pytest.fixture(scope="module", params=["postgres", "oldest_postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """The newest and the oldest PostgreSQL with a row of each of two workspaces in every table that belongs to one."""
    server: PostgresServer = request.getfixturevalue(request.param)
    name = installed_database(server)
    with closing(Database(server_url(server, name))) as opened:
        fill(opened)
        yield opened
    server.drop_database(name)


def _owner_column(table: str) -> str:
    return {"workspaces": "id", "users": "id"}.get(table, "workspace_id")


def _owners(tx: Tx, table: str) -> list[str]:
    """Return the owners of the visible rows, without any WHERE."""
    return sorted(tx.execute(text(f"SELECT {_owner_column(table)} FROM {table}")).scalars())


# --- a forgotten WHERE ---


@pytest.mark.parametrize("table", TENANT_TABLES)
def test_reading_without_where(database: Database, table: str) -> None:
    """Within a workspace only its own rows are visible, even without a condition (R47, R49)."""
    with read_behind(database) as tx:
        assert _owners(tx, table) == [OURS, THEIRS]
    if table in _may("SELECT"):
        with database.read(OURS) as tx:
            assert _owners(tx, table) == [OURS]
        return
    with pytest.raises(StatementFault) as refused, database.read(OURS) as tx:
        _owners(tx, table)
    assert refused.value.code == FORBIDDEN


@contextmanager
def _trying(database: Database, workspace_id: WorkspaceId = OURS) -> Iterator[Tx]:
    """Run a transaction within a workspace, and undo it."""
    with suppress(Rollback), database.write(workspace_id) as tx:
        yield tx
        raise Rollback


def _may(verb: str) -> list[str]:
    """Return the tables on which work within a workspace has that right; referring tables come first."""
    tables = {right.table for right in GRANTS[APPLICATION] if right.verb == verb}
    return [
        table.name
        for table in reversed(schema.metadata.sorted_tables)
        if table.name in tables & TENANT_ROWS.keys()
    ]


def test_changing_without_where(database: Database) -> None:
    """A change of everything reaches only the rows of the own workspace."""
    changed = {}
    with _trying(database) as tx:
        for table in _may("UPDATE"):
            columns = [
                r.columns for r in GRANTS[APPLICATION] if (r.table, r.verb) == (table, "UPDATE")
            ]
            own = _owner_column(table)
            column = min(columns[0] or {own})
            act = f"UPDATE {table} SET {column} = {column} RETURNING {own}"
            changed[table] = list(tx.execute(text(act)).scalars())
    assert set(map(tuple, changed.values())) == {(OURS,)}
    assert len(changed) > 8


def test_deleting_without_where(database: Database) -> None:
    """A deletion of everything takes only the rows of the own workspace."""
    with _trying(database) as tx:
        gone = {
            table: list(
                tx.execute(text(f"DELETE FROM {table} RETURNING {_owner_column(table)}")).scalars()
            )
            for table in _may("DELETE")
        }
        left = {table: _owners(tx, table) for table in gone}
    assert {tuple(owners) for owners in gone.values()} <= {(OURS,), ()}
    assert sum(map(len, gone.values())) > 5
    assert not any(left.values())
    with read_behind(database) as tx:
        assert {tuple(_owners(tx, table)) for table in gone} == {(OURS, THEIRS)}


def test_a_purge_without_where(database: Database) -> None:
    """A purge of everything takes only rows of deleted workspaces, except for people and their invitations."""
    deleting = {right.table for right in GRANTS[Purpose.DELETION] if right.verb == "DELETE"}
    tables = [t.name for t in reversed(schema.metadata.sorted_tables) if t.name in deleting]
    people = {"members", "invitations", "users"}
    tenants = [name for name in tables if name in TENANT_ROWS and name not in people]
    mark = "UPDATE workspaces SET deleted_at = :at WHERE id = :id"
    gone: dict[str, list[str]] = {}
    try:
        with write_behind(database) as tx:
            tx.execute(text(mark), {"at": 1, "id": OURS})
        with suppress(Rollback), database.write_across(Purpose.DELETION) as tx:
            for table in tenants[:-1]:
                act = f"DELETE FROM {table} RETURNING {_owner_column(table)}"
                gone[table] = list(tx.execute(text(act)).scalars())
            assert _owners(tx, "workspaces") == [OURS]
            raise Rollback
    finally:
        with write_behind(database) as tx:
            tx.execute(text(mark), {"at": None, "id": OURS})
    assert tenants[-1] == "workspaces"
    assert {tuple(owners) for owners in gone.values()} == {(OURS,)}
    assert len(gone) > 15


@pytest.mark.parametrize("table", _may("INSERT"))
def test_writing_for_another_workspace(database: Database, table: str) -> None:
    """A row that names another workspace is refused."""
    row = row_of(table, needed_columns(table), THEIRS)
    names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    with pytest.raises(StatementFault) as refused, _trying(database) as tx:
        tx.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
    assert refused.value.code == FORBIDDEN


def test_moving_a_row_to_another_workspace(database: Database) -> None:
    """A row cannot move to another workspace."""
    for table in ("idempotency_keys", "collections", "members"):
        with pytest.raises(StatementFault) as refused, _trying(database) as tx:
            tx.execute(text(f"UPDATE {table} SET workspace_id = :theirs"), {"theirs": THEIRS})
        assert refused.value.code == FORBIDDEN


@pytest.mark.parametrize("named", [None, "", "ws_nobody"], ids=["unset", "empty", "nobody's"])
def test_without_a_workspace(database: Database, named: str | None) -> None:
    """Work that names no workspace, or one that does not exist, sees no rows (R52)."""
    with closing(psycopg.connect(_dsn(database))) as connection:
        connection.execute("SELECT set_config('role', session_user || '_application', true)")
        if named is not None:
            connection.execute("SELECT set_config(%s, %s, true)", [SETTING, named])
        for table in _may("SELECT"):
            own = _owner_column(table)
            assert connection.execute(f"SELECT {own} FROM {table}".encode()).fetchall() == []


def _dsn(database: Database) -> str:
    return database.url.set(drivername="postgresql").render_as_string(hide_password=False)


# --- the declared policies, and the catalogue ---


def test_the_catalogue_is_the_map(database: Database) -> None:
    """Roles, policies and grants are exactly the declared ones: nothing is missing, and nothing is added (R51)."""
    with database.read_across(Purpose.SERVER) as tx:
        assert row_security.login_fault(tx) is None
        assert row_security.differences_of_roles(tx, SERVER_ROLE) == []
        assert row_security.differences_of_tables(tx, SERVER_ROLE, owners_way=False) == []


def test_every_table_has_its_place(database: Database) -> None:
    """A table of workspaces has row-level security; any other has its declared reason why not, and none is missing."""
    with read_behind(database) as tx:
        tables = set(
            tx.execute(
                text(
                    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'm')"
                    " AND relnamespace = 'public'::regnamespace"
                )
            ).scalars()
        )
        tenants = set(
            tx.execute(
                text(
                    "SELECT table_name FROM information_schema.columns"
                    " WHERE table_schema = 'public' AND column_name = 'workspace_id'"
                )
            ).scalars()
        )
    assert tables == TENANT_ROWS.keys() | OPEN_TABLES.keys()
    assert tenants <= TENANT_ROWS.keys()
    assert not TENANT_ROWS.keys() & OPEN_TABLES.keys()


def _rights_of(tx: Tx, role: str) -> set[tuple[str, str, str]]:
    """Return what a role may do, column by column, as PostgreSQL reports it."""
    query = (
        "SELECT c.relname, v.verb, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS v(verb)"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND a.attnum > 0"
        " AND NOT a.attisdropped AND has_column_privilege(:role, c.oid, a.attname, v.verb)"
        " UNION SELECT c.relname, 'DELETE', '' FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"
        " AND c.relkind IN ('r', 'p', 'v') AND has_table_privilege(:role, c.oid, 'DELETE')"
    )
    return {tuple(row) for row in tx.execute(text(query), {"role": role})}


@pytest.mark.parametrize("role", [LOGIN, *ROLES], ids=lambda role: role or "login")
def test_each_role_may_what_the_map_says(database: Database, role: str) -> None:
    """PostgreSQL reports the declared rights for each role, table, verb and column: no role has more by another way."""
    with read_behind(database) as tx:
        columns: dict[str, set[str]] = {}
        for row in tx.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = 'public'"
            )
        ):
            columns.setdefault(row.table_name, set()).add(row.column_name)
        rights = _rights_of(tx, role_name(SERVER_ROLE, role))
    wanted = {
        (right.table, right.verb, column)
        for right in GRANTS[role]
        for column in ({""} if right.verb == "DELETE" else right.columns or columns[right.table])
    }
    assert rights == wanted


@pytest.mark.parametrize(
    ("purpose", "reads"),
    [
        (Purpose.PEOPLE, "SELECT digest FROM api_keys"),
        (Purpose.PEOPLE, "SELECT text FROM documents"),
        (Purpose.USE, "SELECT description FROM api_keys"),
        (Purpose.USE, "SELECT email FROM users"),
        (Purpose.WORKER, "SELECT text FROM documents"),
        (Purpose.WORKER, "SELECT user_id FROM sessions"),
        (Purpose.OPERATOR, "SELECT password_hash FROM users"),
        (Purpose.OPERATOR, "SELECT digest FROM api_keys"),
        (Purpose.OPERATOR, "SELECT text FROM documents"),
        (Purpose.SERVER, "SELECT text FROM documents"),
        (Purpose.SERVER, "SELECT last_event FROM workspaces"),
        (Purpose.SERVER, "SELECT created_by_id FROM credentials"),
    ],
)
def test_a_purpose_reads_its_own_alone(database: Database, purpose: Purpose, reads: str) -> None:
    """A database role cannot read what its work does not need, across workspaces or at all."""
    with pytest.raises(StatementFault) as refused, database.read_across(purpose) as tx:
        tx.execute(text(reads))
    assert refused.value.code == FORBIDDEN


@pytest.mark.parametrize(
    "act", ["UPDATE events SET actor_name = 'x'", "DELETE FROM events", "TRUNCATE events"]
)
def test_the_past_stays(database: Database, act: str) -> None:
    """No role can change events; they are deleted after the retention time, or with their whole workspace."""
    deleting = {Purpose.WORKER, Purpose.DELETION} if act.startswith("DELETE") else set()
    across = [purpose for purpose in PURPOSES if purpose not in deleting]
    for work in (database.write(OURS), *map(database.write_across, across)):
        with pytest.raises(StatementFault) as refused, work as tx:
            tx.execute(text(act))
        assert refused.value.code == FORBIDDEN


def test_digests_are_not_for_the_application(database: Database) -> None:
    """Work within a workspace writes digests and passwords, and reads none."""
    for reads in ("digest FROM api_keys", "digest FROM invitations", "password_hash FROM users"):
        with pytest.raises(StatementFault) as refused, database.read(OURS) as tx:
            tx.execute(text(f"SELECT {reads}"))
        assert refused.value.code == FORBIDDEN


def test_views_and_functions_work_for_their_callers(database: Database) -> None:
    """No view shows rows in its owner's name, and no function runs in it (R53)."""
    views = "SELECT relname FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = 'public'::regnamespace"
    views += " AND NOT coalesce(reloptions, '{}') @> '{security_invoker=true}'"
    functions = "SELECT proname, prosecdef FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    with read_behind(database) as tx:
        assert tx.execute(text(views)).all() == []
        rows = tx.execute(text(functions)).all()
    assert rows
    assert [row.proname for row in rows if row.prosecdef] == []


def test_references_stay_within_a_workspace(database: Database) -> None:
    """A foreign key between tables of workspaces includes the workspace: a row cannot refer to another's (R50)."""
    query = (
        "SELECT conname, conrelid::regclass::text AS own, confrelid::regclass::text AS theirs,"
        " ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY(conkey)) AS columns,"
        " ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = confrelid AND attnum = ANY(confkey)) AS found"
        " FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"
    )
    with read_behind(database) as tx:
        keys = tx.execute(text(query)).all()
    within = [
        key for key in keys if {key.own, key.theirs} <= TENANT_ROWS.keys() - {"workspaces", "users"}
    ]
    assert len(within) > 8
    for key in within:
        assert "workspace_id" in key.columns, key.conname
        assert "workspace_id" in key.found, key.conname


GLOBALLY_UNIQUE: Final = {
    "workspaces_pk": "the workspace's own id",
    "workspaces_by_external_id": "the product's own id, which only operators read and set",
    "api_keys_pk": "the id is in the token, 128 bits of it random: nobody meets another's by chance",
    "key_use_pk": "the id of a key",
    "key_use_days_pk": "the id of a key",
    "key_use_hours_pk": "the id of a key",
    "events_by_position": "a number that the server makes up",
    "key_callers_pk": "the id of a key",
    "collections_pk": "an id that the server makes up",
    "documents_pk": "a number that the database makes up, and that leaves it nowhere",
    "sign_in_links_pk": "the digest of 256 random bits",
    "device_logins_pk": "the digest of 256 random bits",
    "device_logins_user_code_digest_key": "the server makes up the code, and only one that is free",
    "invitations_pk": "an id that the server makes up",
    "invitations_digest_key": "the digest of 256 random bits",
    "users_pk": "an id that the server makes up",
    "users_sign_in_email_key": "one address is one person of the installation, on purpose",
}
"""The names that are unique over workspaces, with the reason why that reveals none of them."""


def test_names_are_unique_within_a_workspace(database: Database) -> None:
    """Names that users choose are unique only in their workspace: a refusal reveals nothing of others (R50)."""
    query = (
        "SELECT c.relname AS name, i.indrelid::regclass::text AS owner,"
        " ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = i.indrelid AND attnum = ANY(i.indkey))"
        " AS columns"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisunique"
        " AND c.relnamespace = 'public'::regnamespace"
    )
    with read_behind(database) as tx:
        unique = [row for row in tx.execute(text(query)) if row.owner in TENANT_ROWS]
    beyond = {
        row.name for row in unique if not {"workspace_id", "portal_workspace_id"} & set(row.columns)
    }
    assert beyond == GLOBALLY_UNIQUE.keys()


# --- for the length of a transaction ---


def test_the_workspace_never_outlives_its_transaction(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    """Over a pool of two, transactions of two workspaces, and without one, see only their own, in any order (R52)."""
    interleave(_dsn(database), 2_000, monkeypatch)


@pytest.mark.prove
def test_ten_thousand_interleaved(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guarantee holds for ten thousand."""
    interleave(_dsn(database), 10_000, monkeypatch)


def test_a_login_without_roles_does_nothing(roomless: str) -> None:
    """If the login is not a server's, nothing is read or written: the database is unavailable, and says why."""
    with closing(Database(roomless)) as database:
        for work in (database.read(OURS), database.write_across(Purpose.PEOPLE)):
            with pytest.raises(Unavailable, match="keystead migrate"), work as tx:
                tx.execute(text("SELECT 1"))


@pytest.fixture
def roomless(postgres: PostgresServer) -> Iterator[str]:
    """A sound database, and its URL with the administrator."""
    name = installed_database(postgres)
    yield postgres.dsn(name)
    postgres.drop_database(name)
