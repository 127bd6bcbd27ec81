"""How a PostgreSQL differs from the declared roles, row-level security, policies and grants, and the fixes.

Everything is compared with the catalog, so what is right already needs no statement and no lock. A starting
server makes the same comparison.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text

from keystead.storage.database import Tx
from keystead.storage.engine.connections import TIMEOUTS
from keystead.storage.engine.roles import ROLES
from keystead.storage.row_security.grants import (
    GRANTS,
    LOGIN,
    OPEN_TABLES,
    TENANT_ROWS,
    Policy,
    policies,
    role_name,
)
from keystead.storage.schema import tables as schema

SERVER_ROLE: Final = "keystead_server"
"""The default name of the server's login."""
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_BLANKS: Final = re.compile(r"\s+")
_OWNERS: Final = "owner"
"""The policy that shows the tables' owner all rows, for servers of a version before row-level security."""
_WITH_OPTIONS: Final = 16
"""Since this version each membership has its own INHERIT and SET options."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as declared: its table ("" for roles), what it is, and the statements that fix it."""

    table: str
    says: str
    fix: tuple[str, ...]


def check_role_name(server: str) -> str:
    """Return the name of a login. Raises ValueError unless the names of its roles need no quotes."""
    if not _NAME.fullmatch(server):
        raise ValueError(
            "a role's name has at most 40 lowercase letters, digits and underscores, the first not a digit"
        )
    return server


def server_version(tx: Tx) -> int:
    """PostgreSQL's major version."""
    return int(tx.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000


# --- roles, which belong to the whole PostgreSQL cluster ---

_FOUND_ROLES: Final = text(
    "SELECT rolname, rolcanlogin, rolinherit,"
    " coalesce(rolconfig, '{}') AS settings FROM pg_roles WHERE rolname = ANY(:names)"
)
_FOUND_MEMBERSHIPS: Final = {
    False: "SELECT r.rolname, true AS may_set, false AS inherits FROM pg_auth_members m"
    " JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles l ON l.oid = m.member WHERE l.rolname = :server",
    True: "SELECT r.rolname, bool_or(m.set_option) AS may_set, bool_or(m.inherit_option) AS inherits"
    " FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles l ON l.oid = m.member"
    " WHERE l.rolname = :server GROUP BY r.rolname",
}


def differences_of_roles(tx: Tx, server: str) -> list[Difference]:
    """Return what is wrong with the login and the roles that it sets."""
    names = [role_name(server, role) for role in (LOGIN, *ROLES)]
    roles = {row.rolname: row for row in tx.execute(_FOUND_ROLES, {"names": names})}
    with_options = server_version(tx) >= _WITH_OPTIONS
    query = text(_FOUND_MEMBERSHIPS[with_options])
    memberships = {row.rolname: row for row in tx.execute(query, {"server": server})}
    return [
        *_login(server, roles.get(server)),
        *(_group(name) for name in names[1:] if name not in roles),
        *(
            _membership(server, name, with_options)
            for name in names[1:]
            if name not in memberships
            or not memberships[name].may_set
            or memberships[name].inherits
        ),
    ]


def _login(server: str, row: Any) -> Iterator[Difference]:
    if row is None:
        yield _of_roles(
            f"there is no role {server}", f"CREATE ROLE {_quoted(server)} LOGIN NOINHERIT"
        )
    elif row.rolinherit or not row.rolcanlogin:
        fix = f"ALTER ROLE {_quoted(server)} LOGIN NOINHERIT"
        yield _of_roles(f"the role {server} inherits the privileges of all its roles", fix)
    present = [] if row is None else [setting.partition("=")[0] for setting in row.settings]
    for name in sorted(TIMEOUTS.keys() - present):
        fix = f"ALTER ROLE {_quoted(server)} SET {name} = '{TIMEOUTS[name]}'"
        yield _of_roles(f"the role {server} has no {name}", fix)


def _group(name: str) -> Difference:
    return _of_roles(f"there is no role {name}", f"CREATE ROLE {_quoted(name)} NOLOGIN")


def _membership(server: str, name: str, with_options: bool) -> Difference:
    options = " WITH INHERIT FALSE, SET TRUE" if with_options else ""
    fix = f"GRANT {_quoted(name)} TO {_quoted(server)}{options}"
    return _of_roles(f"the role {server} cannot SET ROLE {name}", fix)


def _of_roles(says: str, *fix: str) -> Difference:
    return Difference("", says, fix)


# --- the tables of this database ---

_FOUND_TABLES: Final = text(
    "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
    " WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
)
_FOUND_POLICIES: Final = text(
    "SELECT c.relname, p.polname, p.polcmd, p.polpermissive,"
    ' pg_get_expr(p.polqual, p.polrelid) AS "using", pg_get_expr(p.polwithcheck, p.polrelid) AS "check",'
    " ARRAY(SELECT CASE o WHEN 0 THEN 'public' ELSE pg_get_userbyid(o)::text END FROM unnest(p.polroles) o) AS roles"
    " FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid"
    " WHERE c.relnamespace = current_schema()::regnamespace"
)
_FOUND_GRANTS: Final = text(
    "SELECT g.relname, g.column, a.privilege_type AS verb,"
    " CASE a.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(a.grantee)::text END AS grantee"
    " FROM (SELECT relname, NULL AS column, relacl AS acl FROM pg_class"
    "  WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v')"
    "  UNION ALL SELECT c.relname, t.attname, t.attacl FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid"
    "  WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v')"
    "  AND NOT t.attisdropped) g, aclexplode(g.acl) a"
)

_Grant = tuple[str, str, str, str | None]
"""Role, table, verb, column; the column None for the whole table."""


def differences_of_tables(tx: Tx, server: str, owners_way: bool | None = None) -> list[Difference]:
    """Return what is wrong with row-level security, policies and grants, ordered by table.

    `owners_way`: whether the owner must see all rows; None accepts either.
    """
    tables = {row.relname: row for row in tx.execute(_FOUND_TABLES)}
    rows = tx.execute(_FOUND_POLICIES).all()
    differences = [
        *_owner_policies(rows, owners_way),
        *_missing_row_security(tables),
        *_policies(server, rows),
        *_grants(server, set(_present_grants(tx))),
    ]
    return sorted(differences, key=lambda difference: difference.table)


def hidden_from_owner(tx: Tx) -> list[Difference]:
    """Return the tables under row-level security whose rows the owner cannot see."""
    protected = {row.relname for row in tx.execute(_FOUND_TABLES) if row.relforcerowsecurity}
    rows = tx.execute(_FOUND_POLICIES).all()
    return [each for each in _owner_policies(rows, True) if each.table in protected]


def has_row_security(tx: Tx) -> bool:
    """Return whether row-level security was applied to this database before."""
    return any(
        row.relname == schema.api_keys.name and row.relforcerowsecurity
        for row in tx.execute(_FOUND_TABLES)
    )


def owner_has_access(tx: Tx) -> bool:
    """Return whether the tables' owner still sees all rows."""
    return any(row.polname == _OWNERS for row in tx.execute(_FOUND_POLICIES))


def _owner_policies(rows: Iterable[Any], wanted: bool | None) -> Iterator[Difference]:
    # Sorting by table keeps these first for each table: the owner must never be without its policy
    # while row-level security is forced, or running servers that log in as the owner see no rows.
    present = {row.relname for row in rows if row.polname == _OWNERS}
    if wanted is True:
        for name in sorted(TENANT_ROWS.keys() - present):
            fix = f"CREATE POLICY {_OWNERS} ON {_quoted(name)} TO CURRENT_ROLE USING (true)"
            yield Difference(name, f"the owner sees no row of {name}", (fix,))
    if wanted is False:
        for name in sorted(present):
            yield Difference(name, f"the owner sees all rows of {name}", (_drop((name, _OWNERS)),))


def _missing_row_security(tables: dict[str, Any]) -> Iterator[Difference]:
    for name in sorted(TENANT_ROWS):
        alter = f"ALTER TABLE {_quoted(name)}"
        if name not in tables:
            yield Difference(name, f"there is no visible table {name}", ())
            continue
        if not tables[name].relrowsecurity:
            yield Difference(
                name,
                f"the table {name} has no row security",
                (f"{alter} ENABLE ROW LEVEL SECURITY",),
            )
        if not tables[name].relforcerowsecurity:
            yield Difference(
                name,
                f"the table {name} does not force row security on its owner",
                (f"{alter} FORCE ROW LEVEL SECURITY",),
            )


def _policies(server: str, rows: Iterable[Any]) -> Iterator[Difference]:
    present = {(row.relname, row.polname): row for row in rows}
    wanted = {(policy.table, policy.name): policy for policy in policies()}
    ours = {role_name(server, role) for role in (LOGIN, *ROLES)} | {"public"}
    for place, policy in wanted.items():
        row = present.get(place)
        if row is None or not _is(row, policy, server):
            drop = (_drop(place),) if row else ()
            says = f"the policy {policy.name} of {policy.table} is missing or not as declared"
            yield Difference(policy.table, says, (*drop, _create(policy, server)))
    for place, row in present.items():
        if place not in wanted and place[0] in TENANT_ROWS and ours & set(row.roles):
            says = f"the policy {place[1]} of {place[0]} is not Keystead's"
            yield Difference(place[0], says, (_drop(place),))


def _is(row: Any, policy: Policy, server: str) -> bool:
    command = "*" if policy.check else "r"
    conditions = (_plain(row.using), _plain(row.check))
    return (
        row.polpermissive
        and row.polcmd in {command, command.encode()}
        and list(row.roles) == [role_name(server, policy.role)]
        and conditions == (policy.using, policy.check)
    )


def _plain(expression: str | None) -> str | None:
    return None if expression is None else _BLANKS.sub(" ", expression)


def _drop(place: tuple[str, str]) -> str:
    return f"DROP POLICY {_quoted(place[1])} ON {_quoted(place[0])}"


def _create(policy: Policy, server: str) -> str:
    role = _quoted(role_name(server, policy.role))
    begin = f"CREATE POLICY {_quoted(policy.name)} ON {_quoted(policy.table)}"
    if policy.check is None:
        return f"{begin} FOR SELECT TO {role} USING ({policy.using})"
    return f"{begin} TO {role} USING ({policy.using}) WITH CHECK ({policy.check})"


def _present_grants(tx: Tx) -> Iterator[_Grant]:
    for row in tx.execute(_FOUND_GRANTS):
        yield row.grantee, row.relname, row.verb, row.column


def _grants(server: str, present: set[_Grant]) -> Iterator[Difference]:
    wanted = {
        (role_name(server, role), grant.table, grant.verb, column)
        for role, grants in GRANTS.items()
        for grant in grants
        for column in (grant.columns or (None,))
    }
    ours = {role_name(server, role) for role in (LOGIN, *ROLES)} | {"public"}
    tables = TENANT_ROWS.keys() | OPEN_TABLES.keys()
    extra = {each for each in present - wanted if each[0] in ours and each[1] in tables}
    yield from _changed(extra, "REVOKE", "FROM", "may")
    yield from _changed(wanted - present, "GRANT", "TO", "may not")


def _changed(grants: set[_Grant], act: str, to: str, may: str) -> Iterator[Difference]:
    """Yield one statement for each role, table and verb."""
    columns: dict[tuple[str, str, str], list[str]] = {}
    for role, table, verb, column in grants:
        columns.setdefault((role, table, verb), []).append(column or "")
    for (role, table, verb), names in sorted(columns.items()):
        grantee = "PUBLIC" if role == "public" else _quoted(role)
        for part in ([""] if "" in names else [], sorted(filter(None, names))):
            if part:
                which = f" ({', '.join(map(_quoted, part))})" if part != [""] else ""
                fix = f"{act} {verb}{which} ON {_quoted(table)} {to} {grantee}"
                yield Difference(table, f"{role} {may} {verb} {table}{which}", (fix,))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# --- the login of this connection ---

_LOGIN: Final = text(
    "SELECT session_user AS name, r.rolsuper, r.rolbypassrls, r.rolcreaterole,"
    " (SELECT min(c.relname::text) FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
    "  AND pg_has_role(session_user, c.relowner, 'MEMBER')) AS owns,"
    " (SELECT min(m.rolname::text) FROM pg_roles m WHERE m.rolname <> session_user"
    "  AND (m.rolsuper OR m.rolbypassrls OR m.rolcreaterole OR m.rolname = ANY(:powers))"
    "  AND pg_has_role(session_user, m.oid, 'MEMBER')) AS member_of"
    " FROM pg_roles r WHERE r.rolname = session_user"
)
_POWERS: Final = (
    "pg_execute_server_program",
    "pg_read_all_data",
    "pg_read_server_files",
    "pg_write_all_data",
    "pg_write_server_files",
)
"""Predefined roles with access to files, programs or every table."""


def login_fault(tx: Tx) -> str | None:
    """Return why a server must not use the login of this connection; None if it may."""
    login = tx.execute(_LOGIN, {"powers": list(_POWERS)}).one()
    if login.rolsuper:
        return f"{login.name} is a superuser of PostgreSQL, to which row security does not apply"
    if login.rolbypassrls:
        return f"{login.name} bypasses row security"
    if login.owns is not None:
        return f"{login.name} owns tables ({login.owns}) and could disable row security"
    if login.rolcreaterole:
        return f"{login.name} may create roles"
    if login.member_of is not None:
        return f"{login.name} is a member of {login.member_of}, which may do more than a server"
    return None


def row_security_fault(tx: Tx) -> str | None:
    """Return the first difference for the login of this connection; None if everything is as declared."""
    server = str(tx.exec_driver_sql("SELECT session_user").scalar_one())
    differences = differences_of_roles(tx, server) + differences_of_tables(tx, server)
    if not differences:
        return None
    more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
    return f"{differences[0].says}{more}"
