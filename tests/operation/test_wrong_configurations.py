"""A server with an unsafe or wrong configuration refuses to start, with one clear line that has no secret."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from keystead import bootstrap
from keystead.operation.files import ConfigurationError
from keystead.operation.peppers import make_peppers
from keystead.settings import Settings
from keystead.storage.database import Database
from keystead.storage.engine.urls import parse_url
from keystead.storage.maintenance import migrate
from keystead.storage.row_security.apply import apply_row_security
from tests.support.administrator import read_behind, write_behind
from tests.support.postgres import PostgresServer, find_binaries, own_postgres
from tests.support.processes import CommandResult, run_apart
from tests.support.row_security import installed_database, server_url
from tests.support.server_process import ServerProcess

SECRET = base64.b64encode(bytes(range(3, 35))).decode()
PASSWORD = "correct-horse"


@dataclass
class Start:
    """The arguments, the environment and the folder with which a server is started."""

    folder: Path
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    held: list[socket.socket] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """Return the data folder."""
        return self.folder / "data"

    @property
    def settings(self) -> Settings:
        """Return the settings of an embedded installation in this folder."""
        return Settings(data=self.data)

    def begin(self) -> None:
        """Create a sound installation, as a first start does."""
        bootstrap.prepare(self.settings)

    def refused(self) -> CommandResult:
        """Start the server, which must exit by itself."""
        own = {name: value for name, value in os.environ.items() if "KEYSTEAD" not in name}
        place = {"KEYSTEAD_DATA": str(self.data), "KEYSTEAD_PORT": "0"}
        try:
            return run_apart(
                ["serve", *self.arguments], own | place | self.environment, self.folder
            )
        finally:
            for listener in self.held:
                listener.close()


Spoil = Callable[[Start], object]


def arguments(*given: str) -> Spoil:
    """Start with these arguments."""
    return lambda start: start.arguments.extend(given)


def environment(**given: str) -> Spoil:
    """Start with these environment variables."""
    return lambda start: start.environment.update(given)


def toml(content: str, mode: int = 0o600) -> Spoil:
    """Start with this settings file."""

    def spoil(start: Start) -> None:
        path = start.folder / "keystead.toml"
        path.write_text(content)
        path.chmod(mode)

    return spoil


def sound(spoil: Spoil) -> Spoil:
    """Create a sound installation, to be spoilt afterwards."""

    def both(start: Start) -> None:
        start.begin()
        spoil(start)

    return both


def mode(name: str, bits: int) -> Spoil:
    """Give that file or folder of a sound installation that mode."""
    return sound(lambda start: (start.data / name).chmod(bits))


def peppers(content: str) -> Spoil:
    """Give a sound installation a pepper file with that content."""
    return sound(lambda start: (start.data / "peppers").write_text(content))


def revision(number: str) -> Spoil:
    """Give the database another version."""

    def spoil(start: Start) -> None:
        with (
            closing(Database(start.settings.database_url)) as database,
            write_behind(database) as tx,
        ):
            tx.execute(text("UPDATE alembic_version SET version_num = :now"), {"now": number})

    return sound(spoil)


def keys_without_pepper(start: Start) -> None:
    """Create a live key, and remove the pepper file."""
    start.begin()
    ServerProcess(start.settings.database_url, start.data).token()
    (start.data / "peppers").unlink()


def keys_of_another_pepper(start: Start) -> None:
    """Create a live key, and replace the pepper."""
    keys_without_pepper(start)
    start.environment["KEYSTEAD_PEPPERS"] = f"other:{SECRET}"


def certificate(start: Start, *, form: str = "pkcs8", key_mode: int = 0o600) -> None:
    """Write a certificate and its key, in that form and with that mode."""
    key, cert = start.folder / "key.pem", start.folder / "cert.pem"
    command = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    )
    subprocess.run(
        [*command, "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    if form == "sec1":
        subprocess.run(["openssl", "ec", "-in", key, "-out", key], check=True, capture_output=True)
    key.chmod(key_mode)
    start.arguments += ["--tls-cert", str(cert), "--tls-key", str(key)]


def strangers_key(start: Start) -> None:
    """Use the key of another certificate."""
    certificate(start)
    (start.folder / "cert.pem").rename(start.folder / "other.pem")
    start.arguments = []
    certificate(start)
    start.arguments[1] = str(start.folder / "other.pem")


def port_in_use(start: Start) -> None:
    """Listen on the port from another process that would share it."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    start.held.append(listener)
    start.arguments += ["--port", str(listener.getsockname()[1])]


WRONG: dict[str, tuple[Spoil, str]] = {
    "public URL without TLS": (
        arguments("--public-url", "http://keys.example.com"),
        "public_url: must be https",
    ),
    "public URL with a path": (
        arguments("--public-url", "https://example.com/keys"),
        "must have no path",
    ),
    "all addresses, in clear": (arguments("--host", "0.0.0.0"), "needs tls_cert and tls_key"),
    "all IPv6 addresses, in clear": (arguments("--host", "::"), "needs tls_cert and tls_key"),
    "everybody a proxy": (arguments("--trusted-proxy", "0.0.0.0/0"), "forge"),
    "a proxy that is no network": (arguments("--trusted-proxy", "10.0.0.1/8"), "host bits"),
    "host of another machine": (
        arguments("--host", "192.0.2.1", "--trusted-proxy", "192.0.2.0/24"),
        "cannot be used",
    ),
    "port out of range": (arguments("--port", "70000"), "port: "),
    "port in use": (port_in_use, "is in use"),
    "metrics on the same port": (
        arguments("--port", "8090", "--metrics-port", "8090"),
        "metrics_port must not be",
    ),
    "key without certificate": (arguments("--tls-key", "key.pem"), "go together"),
    "certificate that is absent": (
        arguments("--tls-cert", "a.pem", "--tls-key", "b.pem"),
        "does not exist",
    ),
    "key that others may read": (lambda start: certificate(start, key_mode=0o644), "TLS key"),
    "key that is not PKCS#8": (lambda start: certificate(start, form="sec1"), "PKCS#8"),
    "key of another certificate": (strangers_key, "do not match"),
    "misspelt setting in the environment": (
        environment(KEYSTEAD_TRUSTED_PROXY="::1"),
        "no setting KEYSTEAD_TRUSTED_PROXY",
    ),
    "misspelt setting in the file": (toml("trusted_proxy = '::1'"), "no setting trusted_proxy"),
    "file that is not TOML": (toml("port = = 1"), "is not TOML"),
    "secrets in an open file": (toml(f"peppers = 'p1:{SECRET}'", 0o644), "open to others"),
    "token prefix with a capital": (environment(KEYSTEAD_TOKEN_PREFIX="Acme"), "token_prefix: "),
    "token prefix that is reserved": (environment(KEYSTEAD_TOKEN_PREFIX="acme_svc"), "reserved"),
    "scope without an action": (toml("[scopes]\ninvoices = 'Invoices'"), "scopes: "),
    "scope of another's name": (environment(KEYSTEAD_SCOPES='{"keys:read": "mine"}'), "scopes: "),
    "accent that is no colour": (toml("accent = 'red;}'"), "accent: must be a colour"),
    "dark accent that is no colour": (toml("accent_dark = '#fff'"), "accent_dark: must be a"),
    "link that is a script": (environment(KEYSTEAD_DOCS_URL="javascript:alert(1)"), "docs_url: "),
    "product without a name": (environment(KEYSTEAD_PRODUCT_NAME=" "), "product_name: "),
    "logo that is absent": (environment(KEYSTEAD_LOGO="logo.svg"), "logo: logo.svg cannot be read"),
    "database that is not supported": (
        environment(KEYSTEAD_DATABASE=f"mysql://me:{PASSWORD}@db/keys"),
        "sqlite:/// or postgresql://",
    ),
    "database in memory": (environment(KEYSTEAD_DATABASE="sqlite:///:memory:"), "needs a file"),
    "database of a newer version": (revision("9999"), "a newer Keystead"),
    "database that others may read": (mode("keystead.db", 0o644), "The database"),
    "data folder that others may read": (mode(".", 0o755), "The data folder"),
    "data folder that is a file": (lambda start: start.data.write_text(""), "data folder"),
    "pepper that others may read": (mode("peppers", 0o640), "The pepper file"),
    "pepper that is weak": (
        peppers("p1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"),
        "32 random",
    ),
    "pepper that is cut off": (peppers(f"p1:{SECRET[:20]}\n"), "entry 1"),
    "two peppers of one id": (environment(KEYSTEAD_PEPPERS=f"p1:{SECRET},p1:{SECRET}"), "p1 twice"),
    "pepper that is lost": (keys_without_pepper, "There is no pepper"),
    "pepper that keys need": (keys_of_another_pepper, "Live keys need the pepper"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_configuration_refuses_to_start(name: str, tmp_path: Path) -> None:
    """Exit code 78, one line that says what is wrong, nothing on standard output, no secret anywhere."""
    spoil, says = WRONG[name]
    start = Start(tmp_path)
    spoil(start)
    ended = start.refused()
    assert (ended.code, ended.output) == (78, "")
    assert says in ended.log
    assert len(ended.log.splitlines()) == 1
    assert ended.log.startswith("keystead: ")
    assert SECRET not in ended.log
    assert PASSWORD not in ended.log


# --- roles of PostgreSQL, and row-level security ---

WRONG_ROLES: dict[str, tuple[str, str]] = {
    "superuser": ("ALTER ROLE {login} SUPERUSER", "is a superuser"),
    "role that bypasses row security": (
        "ALTER ROLE {login} BYPASSRLS",
        "bypasses row security",
    ),
    "owner of a table": ("ALTER TABLE plans OWNER TO {login}", "owns tables (plans)"),
    "role that may become the owner": (
        "CREATE ROLE {login}_owner; ALTER TABLE plans OWNER TO {login}_owner; GRANT {login}_owner TO {login}",
        "owns tables (plans)",
    ),
    "role that makes roles": ("ALTER ROLE {login} CREATEROLE", "may create roles"),
    **{
        f"member of {power}": (f"GRANT {power} TO {{login}}", f"is a member of {power}")
        for power in ("pg_read_server_files", "pg_write_server_files", "pg_execute_server_program")
    },
    "member of a role that bypasses row security": (
        "CREATE ROLE {login}_by BYPASSRLS; CREATE ROLE {login}_in IN ROLE {login}_by ROLE {login}",
        "is a member of {login}_by",
    ),
    "member of a superuser": (
        "CREATE ROLE {login}_su SUPERUSER; GRANT {login}_su TO {login}",
        "is a member of {login}_su",
    ),
    "role with all rights at once": ("ALTER ROLE {login} INHERIT", "all its roles"),
    "role without its time-outs": ("ALTER ROLE {login} RESET ALL", "has no "),
    "role that cannot work in a workspace": (
        "REVOKE {login}_application FROM {login}",
        "cannot SET ROLE {login}_application",
    ),
    "table without row security": (
        "ALTER TABLE events DISABLE ROW LEVEL SECURITY",
        "events has no row security",
    ),
    "table that spares its owner": (
        "ALTER TABLE events NO FORCE ROW LEVEL SECURITY",
        "does not force row security",
    ),
    "policy that is gone": (
        "DROP POLICY application ON api_keys",
        "the policy application of api_keys",
    ),
    "policy that lets everything through": (
        "ALTER POLICY application ON api_keys USING (true)",
        "the policy application of api_keys",
    ),
    "policy that somebody added": (
        "CREATE POLICY more ON api_keys TO {login}_application USING (true)",
        "the policy more of api_keys",
    ),
    "right that is missing": (
        "REVOKE INSERT ON events FROM {login}_application",
        "{login}_application may not INSERT events",
    ),
    "right that the check of credentials lacks": (
        "REVOKE SELECT (digest) ON credentials FROM {login}",
        '{login} may not SELECT credentials ("digest")',
    ),
    "right to change the past": (
        "GRANT UPDATE ON events TO {login}_application",
        "{login}_application may UPDATE events",
    ),
    "right of everybody": ("GRANT SELECT ON sessions TO PUBLIC", "public may SELECT sessions"),
    "role of somebody else": (
        "ALTER ROLE {login} RENAME TO {login}_before; CREATE ROLE {login} LOGIN",
        "may not read the schema's revision",
    ),
}
"""The change to a sound database or its login, and the message that it causes."""


@pytest.fixture(scope="module")
def roomy() -> Iterator[PostgresServer]:
    """A PostgreSQL whose roles concern no other test, with a migrated database to copy."""
    if find_binaries() is None:
        pytest.skip("no PostgreSQL binaries on this platform")
    with own_postgres(fsync=False) as server:
        server.create_database(name="migrated")
        with closing(Database(server.dsn("migrated"))) as database:
            migrate.upgrade(database)
        yield server


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path, roomy: PostgresServer) -> Settings:
    """A sound installation on a copy, with a login of its own: spoilt as the test's parameter says."""
    spoil, _ = WRONG_ROLES[request.param]
    login = f"apart_{list(WRONG_ROLES).index(request.param)}_{os.urandom(2).hex()}"
    place = roomy.create_database(template="migrated")
    with closing(Database(roomy.dsn(place))) as database:
        apply_row_security(database, login, fresh=True)
    url = roomy.dsn(place).replace("postgres@", f"{login}@")
    made = Settings(data=tmp_path / "data", database=url)
    bootstrap.make_place(made)
    make_peppers(made.data / "peppers")
    bootstrap.prepare(made)
    with psycopg.connect(roomy.dsn(place)) as connection:
        connection.execute(spoil.format(login=login).encode())
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "name"), [(name, name) for name in WRONG_ROLES], indirect=["settings"]
)
def test_a_wrong_role_may_not_serve(settings: Settings, name: str) -> None:
    """A login that bypasses row-level security, or a gap in the policies, is refused by a line with the cause (R51)."""
    with pytest.raises(ConfigurationError, match="keystead migrate") as refused:
        bootstrap.prepare(settings)
    login = parse_url(settings.database_url).username
    assert WRONG_ROLES[name][1].format(login=login) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("settings", ["superuser", "policy that is gone"], indirect=True)
def test_a_wrong_role_refuses_to_start(settings: Settings, tmp_path: Path) -> None:
    """The server exits with code 78 and that one line."""
    ended = Start(tmp_path, environment={"KEYSTEAD_DATABASE": settings.database_url}).refused()
    assert (ended.code, ended.output) == (78, "")
    assert len(ended.log.splitlines()) == 1
    assert "keystead migrate" in ended.log


def test_a_lost_pepper_is_never_replaced(tmp_path: Path) -> None:
    """If there is a live key, a start without its pepper creates no other one, however often it is tried."""
    start = Start(tmp_path)
    keys_without_pepper(start)
    for _ in range(2):
        assert start.refused().code == 78
        assert not (start.data / "peppers").exists()


def test_a_postgresql_that_is_behind_is_left_as_it_is(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """On an empty PostgreSQL `serve` refuses and changes nothing; it names the command that fixes it."""
    server: PostgresServer = request.getfixturevalue("postgres")
    installed_database(server)
    name = server.create_database()
    start = Start(tmp_path, environment={"KEYSTEAD_DATABASE": server_url(server, name)})
    ended = start.refused()
    assert ended.code == 78
    assert "run: keystead migrate" in ended.log
    with closing(Database(server.dsn(name))) as database, read_behind(database) as tx:
        assert not tx.execute(text("SELECT 1 FROM pg_tables WHERE schemaname = 'public'")).all()
    server.drop_database(name)


def test_a_second_server_without_the_pepper_refuses(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """On a PostgreSQL whose pepper is on another machine a server creates none, even if there is no key yet."""
    server = request.getfixturevalue("postgres")
    name = server.create_database()
    bootstrap.migrate(Settings(data=tmp_path / "first", database=server.dsn(name)))
    second = Start(tmp_path, environment={"KEYSTEAD_DATABASE": server_url(server, name)})
    ended = second.refused()
    assert ended.code == 78
    assert "There is no pepper" in ended.log
    server.drop_database(name)
