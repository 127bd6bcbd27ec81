"""Where a database is: its URL, for SQLAlchemy and for psycopg; of several servers, the one that takes writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from psycopg.conninfo import make_conninfo
from sqlalchemy import make_url
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL

PRIMARY: Final = {
    "target_session_attrs": "primary",
    "load_balance_hosts": "random",
    "tcp_user_timeout": 5_000,
    "keepalives_idle": 5,
    "keepalives_interval": 1,
    "keepalives_count": 4,
}
"""Every connection is to a server that is not in recovery: a standby, which lags, is never read (libpq asks it).

Of several servers each attempt begins with any one, so that a dead machine in front does not take all the time.
A machine that is gone without a word is noticed within some seconds.
"""

POOLED: Final = "pgbouncer"
_SEVERAL: Final = re.compile(r"(postgresql[^:]*://(?:[^@/?]*@)?)([^@/?]*,[^@/?]*)(.*)", re.DOTALL)
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::(\d+))?")
_PORT: Final = "5432"


def parse_url(url: str) -> URL:
    """The URL with the driver that is used. ValueError for another engine, or for hosts that are none.

    `postgresql://user@one:5432,two:5432/name` names several servers, as libpq has it.
    """
    parsed = make_url(_gathered(url))
    match parsed.get_backend_name():
        case "sqlite":
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ValueError(
                f"{other} is not a database that Keystead runs on: use sqlite or postgresql"
            )


def for_libpq(url: URL) -> URL:
    """The URL without what libpq would not know."""
    return url.difference_update_query([POOLED])


def session_of(url: URL, settings: Mapping[str, str], prepare_after: int) -> dict[str, Any]:
    """How psycopg begins a session: with settings of its own, and statements prepared once asked so often.

    With neither behind PgBouncer, which the URL says by `?pgbouncer=true`: there the next transaction may be on another
    connection to PostgreSQL. The server's role has its settings anyway: see `row_security`.
    """
    if url.query.get(POOLED) == "true":
        return {"prepare_threshold": None}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {"prepare_threshold": prepare_after, "options": options}


def conninfo_of(url: URL, **more: Any) -> str:
    """The same as libpq's connection string, which may hold a password, with `more` parameters."""
    dialect: Any = postgresql.psycopg.dialect
    _, parameters = dialect().create_connect_args(for_libpq(url))
    return make_conninfo("", **(parameters | more | PRIMARY))


def _gathered(url: str) -> str:
    """Several hosts as SQLAlchemy takes them: in the query."""
    several = _SEVERAL.fullmatch(url)
    if several is None:
        return url
    begin, hosts, rest = several.groups()
    found = [_HOST.fullmatch(host) for host in hosts.split(",")]
    names = ",".join(one[1] or one[2] for one in found if one)
    ports = ",".join(one[3] or _PORT for one in found if one)
    if None in found:
        raise ValueError("one of the database's hosts is none: write host:port,host:port")
    path, mark, query = rest.partition("?")
    more = f"&{query}" if mark else ""
    return f"{begin}{path or '/'}?host={names}&port={ports}{more}"
