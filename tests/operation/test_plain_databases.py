"""A PostgreSQL on another machine is reached by TLS, unless the operator allows plain text."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from keystead.settings import Settings

REMOTE = [
    "postgresql://app@db.example.com/keystead",
    "postgresql://app@203.0.113.5:5432/keystead",
    "postgresql://app@[2001:db8::5]:5432/keystead",
    "postgresql://app@127.0.0.1,db.example.com/keystead",
    "postgresql://app@localhost.example.com/keystead",
    "postgresql://app@/keystead?host=db.example.com",
    "postgresql://app@localhost/keystead?hostaddr=203.0.113.5",
    "postgresql:///keystead?service=production",
]
HERE = [
    "postgresql://app@localhost/keystead",
    "postgresql://app@127.0.0.1:5433,[::1]:5432/keystead",
    "postgresql:///keystead",
    "postgresql://app@/keystead?host=/run/postgresql",
    "postgresql://app@%2Frun%2Fpostgresql/keystead",
]


def _joined(url: str, more: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{more}"


@pytest.fixture(autouse=True)
def _no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("url", REMOTE)
@pytest.mark.parametrize("mode", ["", "sslmode=disable", "sslmode=allow", "sslmode=prefer"])
def test_a_remote_one_without_tls_is_refused(url: str, mode: str) -> None:
    """Without `sslmode`, or with one that falls back to plain text, the settings do not load, and say what to add."""
    written = _joined(url, mode) if mode else url
    for name in ("database", "migration_database"):
        own = {"database": "postgresql://app@localhost/k", name: written}
        with pytest.raises(ValidationError, match="sslmode=require") as refused:
            Settings(**own)  # type: ignore[arg-type]
        assert "db.example.com" not in str(refused.value)
    assert Settings(database=written, allow_plain_database=True).database == written


@pytest.mark.parametrize("url", REMOTE)
@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_remote_one_with_tls_is_taken(url: str, mode: str) -> None:
    """`require` or stricter is accepted."""
    written = _joined(url, f"sslmode={mode}")
    assert Settings(database=written).database == written


@pytest.mark.parametrize("url", HERE)
def test_one_on_this_machine_needs_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback and sockets stay on this machine; if the URL has no host, libpq's own variable counts."""
    assert Settings(database=url).database == url
    if url == "postgresql:///keystead":
        monkeypatch.setenv("PGHOST", "db.example.com")
        with pytest.raises(ValidationError):
            Settings(database=url)
