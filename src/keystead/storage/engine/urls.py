"""Database URLs, for SQLAlchemy and for psycopg; of several PostgreSQL servers, the one that accepts writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

PRIMARY: Final = {
    "target_session_attrs": "primary",
    "load_balance_hosts": "random",
    "tcp_user_timeout": 5_000,
    "keepalives_idle": 5,
    "keepalives_interval": 1,
    "keepalives_count": 4,
}
"""Every connection is to a server that is not in recovery: a standby lags, so it is never read (libpq checks this).

Each attempt starts with a random server, so that a dead one at the head of the list does not use up all the time. A
machine that vanishes is noticed within some seconds.
"""

POOLED: Final = "pgbouncer"
_SEVERAL: Final = re.compile(r"(postgresql[^:]*://(?:[^@/?]*@)?)([^@/?]*,[^@/?]*)(.*)", re.DOTALL)
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::(\d+))?")
_PORT: Final = "5432"


def parse_url(url: str) -> URL:
    """Return the URL with the driver that is used. ValueError for another engine, or for malformed hosts.

    `postgresql://user@one:5432,two:5432/name` names several servers, as in libpq.
    """
    parsed = make_url(_with_hosts_in_query(url))
    match parsed.get_backend_name():
        case "sqlite":
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ValueError(
                f"{other} is not a database that Keystead runs on: use sqlite or postgresql"
            )


def require_well_formed(url: str) -> None:
    """Raise ValueError unless libpq or SQLite can read the URL. The message quotes no part of it."""
    try:
        parsed = parse_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        is_well_formed = not parsed.query if is_sqlite else _is_known_to_libpq(parsed)
    except (ValueError, ArgumentError):
        is_well_formed = False
    if not is_well_formed:
        raise ValueError(
            "is malformed: write sqlite:////path/keystead.db or postgresql://user@host:5432/name, with libpq's"
            " parameters only"
        )


def _is_known_to_libpq(url: URL) -> bool:
    from psycopg import ProgrammingError

    try:
        conninfo_of(url)
    except ProgrammingError:
        return False
    return True


def for_libpq(url: URL) -> URL:
    """Return the URL without the parameters that libpq does not know."""
    return url.difference_update_query([POOLED])


def without_login(url: URL) -> str:
    """Return where the database is: its file, or its hosts and name, without user, password and options."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{Path(url.database or '').resolve()}"
    query = {name: value for name, value in url.query.items() if name in {"host", "port"}}
    place = URL.create(
        "postgresql", host=url.host, port=url.port, database=url.database, query=query
    )
    return place.render_as_string()


def session_of(url: URL, settings: Mapping[str, str], prepare_after: int) -> dict[str, Any]:
    """Return psycopg's session parameters: these settings, and statements prepared after that many executions.

    Behind PgBouncer (`?pgbouncer=true` in the URL) there are neither: there the next transaction may run on another
    connection to PostgreSQL. The server's role has the settings anyway: see `row_security.grants`.
    """
    if url.query.get(POOLED) == "true":
        return {"prepare_threshold": None}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {"prepare_threshold": prepare_after, "options": options}


def conninfo_of(url: URL, **more: Any) -> str:
    """Return libpq's connection string, which may contain a password, with `more` parameters."""
    from psycopg.conninfo import make_conninfo
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

    dialect: Any = PGDialect_psycopg
    _, parameters = dialect().create_connect_args(for_libpq(url))
    return make_conninfo("", **(parameters | more | PRIMARY))


def _with_hosts_in_query(url: str) -> str:
    """Return the URL with several hosts where SQLAlchemy expects them: in the query."""
    several = _SEVERAL.fullmatch(url)
    if several is None:
        return url
    begin, hosts, rest = several.groups()
    matches = [_HOST.fullmatch(host) for host in hosts.split(",")]
    names = ",".join(host[1] or host[2] for host in matches if host)
    ports = ",".join(host[3] or _PORT for host in matches if host)
    if None in matches:
        raise ValueError("a host of the database is malformed: write host:port,host:port")
    path, mark, query = rest.partition("?")
    more = f"&{query}" if mark else ""
    return f"{begin}{path or '/'}?host={names}&port={ports}{more}"
