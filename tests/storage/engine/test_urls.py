"""URLs of databases: one server or several, for SQLAlchemy and for psycopg, and never a standby."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from keystead.storage.engine.urls import conninfo_of, parse_url


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://u:p%40ss@db/keys", "db", None),
        ("postgresql://u:p%40ss@db:6000/keys?sslmode=require", "db", "6000"),
        ("postgresql://u:p%40ss@db1:6000,db2/keys", "db1,db2", "6000,5432"),
        (
            "postgresql://u:p%40ss@[::1]:6000,10.0.0.2:6001/keys?sslmode=require",
            "::1,10.0.0.2",
            "6000,6001",
        ),
    ],
)
def test_one_server_or_several(url: str, hosts: str, ports: str | None) -> None:
    """Hosts, ports, user, password, database and other parameters arrive; a server in recovery is never used."""
    parameters = conninfo_to_dict(conninfo_of(parse_url(url)))
    assert (parameters["host"], parameters.get("port")) == (hosts, ports)
    assert (parameters["user"], parameters["password"], parameters["dbname"]) == (
        "u",
        "p@ss",
        "keys",
    )
    assert parameters.get("sslmode") == ("require" if "sslmode" in url else None)
    assert parameters["target_session_attrs"] == "primary"


def test_no_url_selects_a_standby() -> None:
    """A parameter of the URL cannot select a server that lags."""
    url = parse_url("postgresql://u@one,two/keys?target_session_attrs=any")
    assert conninfo_to_dict(conninfo_of(url))["target_session_attrs"] == "primary"


@pytest.mark.parametrize("hosts", ["one,", ",two", "one:x,two", "one,two:1:2", "[::1,two"])
def test_malformed_hosts(hosts: str) -> None:
    """Malformed hosts are refused, without repeating them."""
    with pytest.raises(ValueError, match="a host of the database is malformed"):
        parse_url(f"postgresql://u:secret@{hosts}/keys")


def test_several_hosts_show_no_password() -> None:
    """The printed URL does not contain the password."""
    assert "secret" not in repr(parse_url("postgresql://u:secret@one,two/keys"))
