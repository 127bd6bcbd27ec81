"""How PostgreSQL stands to the map of `rights`, and what brings it there: roles, row security, policies, grants.

The catalogue is compared with the map, so that what is right already is left alone: no statement, no lock. The same
comparison is the server's when it starts.
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
    LOGIN,
    OPEN_TABLES,
    RIGHTS,
    TENANT_ROWS,
    Policy,
    policies,
    role_name,
)
from keystead.storage.schema import tables as schema

SERVER_ROLE: Final = "keystead_server"
"""The server's login, unless it is named otherwise."""
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_BLANKS: Final = re.compile(r"\s+")
_OWNERS: Final = "owner"
"""The policy that lets servers of a version before row security go on, as the owner of the tables."""
_WITH_OPTIONS: Final = 16
"""Since this version a membership says for itself whether it is inherited."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as the map has it: where, what, and the statements that mend it."""

    table: str
    says: str
    mend: tuple[str, ...]


def check_name(server: str) -> str:
    """The name of a login. ValueError where the names of its roles would not be plain ones."""
    if not _NAME.fullmatch(server):
        raise ValueError(
            "a role's name is at most 40 small letters, digits and underscores, a letter first"
        )
    return server


def server_version(tx: Tx) -> int:
    """PostgreSQL's major version."""
    return int(tx.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000


# --- the roles, which belong to the whole server of PostgreSQL ---

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
    """What is missing of the login and of the roles that it puts on."""
    names = [role_name(server, role) for role in (LOGIN, *ROLES)]
    found = {row.rolname: row for row in tx.execute(_FOUND_ROLES, {"names": names})}
    with_options = server_version(tx) >= _WITH_OPTIONS
    query = text(_FOUND_MEMBERSHIPS[with_options])
    held = {row.rolname: row for row in tx.execute(query, {"server": server})}
    return [
        *_login(server, found.get(server)),
        *(_group(name) for name in names[1:] if name not in found),
        *(
            _membership(server, name, with_options)
            for name in names[1:]
            if name not in held or not held[name].may_set or held[name].inherits
        ),
    ]


def _login(server: str, row: Any) -> Iterator[Difference]:
    if row is None:
        yield _of_roles(
            f"there is no role {server}", f"CREATE ROLE {_quoted(server)} LOGIN NOINHERIT"
        )
    elif row.rolinherit or not row.rolcanlogin:
        mend = f"ALTER ROLE {_quoted(server)} LOGIN NOINHERIT"
        yield _of_roles(f"the role {server} has the rights of all its roles at once", mend)
    chosen = [] if row is None else [setting.partition("=")[0] for setting in row.settings]
    for name in sorted(TIMEOUTS.keys() - chosen):
        mend = f"ALTER ROLE {_quoted(server)} SET {name} = '{TIMEOUTS[name]}'"
        yield _of_roles(f"the role {server} has no {name}", mend)


def _group(name: str) -> Difference:
    return _of_roles(f"there is no role {name}", f"CREATE ROLE {_quoted(name)} NOLOGIN")


def _membership(server: str, name: str, with_options: bool) -> Difference:
    options = " WITH INHERIT FALSE, SET TRUE" if with_options else ""
    mend = f"GRANT {_quoted(name)} TO {_quoted(server)}{options}"
    return _of_roles(f"the role {server} cannot put on {name}", mend)


def _of_roles(says: str, *mend: str) -> Difference:
    return Difference("", says, mend)


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
    """What is not as it must be of row security, policies and grants, table by table.

    `owners_way`: whether the owner is to see all rows, as servers of the version before need it; None: either will do.
    """
    tables = {row.relname: row for row in tx.execute(_FOUND_TABLES)}
    rows = tx.execute(_FOUND_POLICIES).all()
    found = [
        *_owners(rows, owners_way),
        *_walls(tables),
        *_policies(server, rows),
        *_grants(server, set(_grants_of(tx))),
    ]
    return sorted(found, key=lambda one: one.table)


def hidden_from_owner(tx: Tx) -> list[Difference]:
    """The tables under row security of which the owner sees nothing."""
    walled = {row.relname for row in tx.execute(_FOUND_TABLES) if row.relforcerowsecurity}
    rows = tx.execute(_FOUND_POLICIES).all()
    return [each for each in _owners(rows, True) if each.table in walled]


def has_walls(tx: Tx) -> bool:
    """Whether this database was brought under row security before."""
    return any(
        row.relname == schema.api_keys.name and row.relforcerowsecurity
        for row in tx.execute(_FOUND_TABLES)
    )


def owners_way_is_open(tx: Tx) -> bool:
    """Whether the owner of the tables still sees all rows, for servers of the version before."""
    return any(row.polname == _OWNERS for row in tx.execute(_FOUND_POLICIES))


def _owners(rows: Iterable[Any], wanted: bool | None) -> Iterator[Difference]:
    """Comes before the rest of each table: no moment in which the owner sees nothing."""
    present = {row.relname for row in rows if row.polname == _OWNERS}
    if wanted is True:
        for name in sorted(TENANT_ROWS.keys() - present):
            mend = f"CREATE POLICY {_OWNERS} ON {_quoted(name)} TO CURRENT_ROLE USING (true)"
            yield Difference(name, f"the owner sees no row of {name}", (mend,))
    if wanted is False:
        for name in sorted(present):
            yield Difference(name, f"the owner sees all rows of {name}", (_drop((name, _OWNERS)),))


def _walls(found: dict[str, Any]) -> Iterator[Difference]:
    for name in sorted(TENANT_ROWS):
        mend = f"ALTER TABLE {_quoted(name)}"
        if name not in found:
            yield Difference(name, f"there is no table {name} that it sees", ())
            continue
        if not found[name].relrowsecurity:
            yield Difference(
                name,
                f"the table {name} has no row security",
                (f"{mend} ENABLE ROW LEVEL SECURITY",),
            )
        if not found[name].relforcerowsecurity:
            yield Difference(
                name,
                f"the table {name} does not force row security on its owner",
                (f"{mend} FORCE ROW LEVEL SECURITY",),
            )


def _policies(server: str, rows: Iterable[Any]) -> Iterator[Difference]:
    found = {(row.relname, row.polname): row for row in rows}
    wanted = {(one.table, one.name): one for one in policies()}
    ours = {role_name(server, role) for role in (LOGIN, *ROLES)} | {"public"}
    for place, policy in wanted.items():
        row = found.get(place)
        if row is None or not _is(row, policy, server):
            drop = (_drop(place),) if row else ()
            says = f"the policy {policy.name} of {policy.table} is not there as it must be"
            yield Difference(policy.table, says, (*drop, _create(policy, server)))
    for place, row in found.items():
        if place not in wanted and place[0] in TENANT_ROWS and ours & set(row.roles):
            says = f"the policy {place[1]} of {place[0]} is not Keystead's"
            yield Difference(place[0], says, (_drop(place),))


def _is(row: Any, policy: Policy, server: str) -> bool:
    command = "*" if policy.check else "r"
    told = (_plain(row.using), _plain(row.check))
    return (
        row.polpermissive
        and row.polcmd in {command, command.encode()}
        and list(row.roles) == [role_name(server, policy.role)]
        and told == (policy.using, policy.check)
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


def _grants_of(tx: Tx) -> Iterator[_Grant]:
    for row in tx.execute(_FOUND_GRANTS):
        yield row.grantee, row.relname, row.verb, row.column


def _grants(server: str, found: set[_Grant]) -> Iterator[Difference]:
    wanted = {
        (role_name(server, role), right.table, right.verb, column)
        for role, rights in RIGHTS.items()
        for right in rights
        for column in (right.columns or (None,))
    }
    ours = {role_name(server, role) for role in (LOGIN, *ROLES)} | {"public"}
    tables = TENANT_ROWS.keys() | OPEN_TABLES.keys()
    extra = {one for one in found - wanted if one[0] in ours and one[1] in tables}
    yield from _changed(extra, "REVOKE", "FROM", "may")
    yield from _changed(wanted - found, "GRANT", "TO", "may not")


def _changed(grants: set[_Grant], act: str, to: str, may: str) -> Iterator[Difference]:
    """One statement for each role, table and verb."""
    columns: dict[tuple[str, str, str], list[str]] = {}
    for role, table, verb, column in grants:
        columns.setdefault((role, table, verb), []).append(column or "")
    for (role, table, verb), named in sorted(columns.items()):
        grantee = "PUBLIC" if role == "public" else _quoted(role)
        for part in ([""] if "" in named else [], sorted(filter(None, named))):
            if part:
                which = f" ({', '.join(map(_quoted, part))})" if part != [""] else ""
                mend = f"{act} {verb}{which} ON {_quoted(table)} {to} {grantee}"
                yield Difference(table, f"{role} {may} {verb} {table}{which}", (mend,))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# --- whose login this is ---

_WHO: Final = text(
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
"""PostgreSQL's own roles that reach files, programs or every table."""


def fault_of_login(tx: Tx) -> str | None:
    """Why the login of this connection must not be a server's; None where it may."""
    who = tx.execute(_WHO, {"powers": list(_POWERS)}).one()
    if who.rolsuper:
        return f"{who.name} is a superuser of PostgreSQL, whom no row security holds"
    if who.rolbypassrls:
        return f"{who.name} bypasses row security"
    if who.owns is not None:
        return f"{who.name} owns tables ({who.owns}) and could take row security away"
    if who.rolcreaterole:
        return f"{who.name} may make roles"
    if who.member_of is not None:
        return f"{who.name} is a member of {who.member_of}, which may do more than a server"
    return None


def fault_of_walls(tx: Tx) -> str | None:
    """The first thing that is not as the map has it for the login of this connection; None where all is."""
    server = str(tx.exec_driver_sql("SELECT session_user").scalar_one())
    found = differences_of_roles(tx, server) + differences_of_tables(tx, server)
    if not found:
        return None
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0].says}{more}"
