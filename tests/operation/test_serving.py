"""A real server starts, answers, bounds its clients, reloads, stops, and is killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select

from keystead.operation.peppers import make_peppers
from keystead.storage.database import Database
from keystead.storage.schema.tables import api_keys
from tests.support.administrator import read_behind
from tests.support.postgres import PrivatePostgres, wait_until
from tests.support.processes import KEYSTEAD
from tests.support.server_process import HOST, ServerProcess, free_port, serving


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server over SQLite."""
    with serving(f"sqlite:///{tmp_path / 'keystead.db'}") as server:
        yield server


def connect(server: ServerProcess, sent: bytes) -> socket.socket:
    """Open a connection and send that data."""
    connection = socket.create_connection((HOST, server.port), timeout=20)
    connection.sendall(sent)
    return connection


def last_use(server: ServerProcess, watcher: str, description: str) -> str | None:
    """Return when the key of that description was last used, as another key sees it."""
    listed = server.call("GET", f"/v1/keys?query={description}", token=watcher).json()["items"]
    used: str | None = listed[0]["last_used_at"]
    return used


@pytest.mark.slow
def test_use_is_written_within_seconds_and_at_the_end(server: ServerProcess) -> None:
    """A key's use appears soon after; one just before SIGTERM is written too, and the exit code is 0."""
    watcher, used, late = (server.token(description=d) for d in ("watcher", "used", "late"))
    assert server.call("GET", "/v1/whoami", token=used).status_code == 200
    wait_until(lambda: last_use(server, watcher, "used") is not None, "the use shows")
    assert server.call("GET", "/v1/whoami", token=late).status_code == 200
    assert server.stop() == 0
    server.start()
    assert last_use(server, watcher, "late") is not None


@pytest.mark.slow
def test_a_database_that_is_away_is_said_to_be_away(private_postgres: PrivatePostgres) -> None:
    """Without PostgreSQL /healthz is 200; /readyz and a live key get 503 with Retry-After; with it all works again."""
    with serving(private_postgres.dsn()) as server:
        token = server.token()
        assert server.call("GET", "/v1/whoami", token=token).status_code == 200
        private_postgres.stop()
        assert server.call("GET", "/healthz").status_code == 200
        for path in ("/readyz", "/v1/whoami"):
            refused = server.call("GET", path, token=token)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            expected = {"/readyz": {"status": "unavailable"}}.get(path)
            assert refused.json() == expected or refused.json()["code"] == "unavailable"
        private_postgres.start()
        wait_until(lambda: server.call("GET", "/readyz").status_code == 200, "it is ready again")
        wait_until(
            lambda: server.call("GET", "/v1/whoami", token=token).status_code == 200,
            "the key is good again",
        )


@pytest.mark.slow
def test_slow_and_big_heads_are_cut_off(embedded: ServerProcess) -> None:
    """Half a head and a silent connection are closed; a head over 32 KiB gets 431; others are served."""
    slow = [
        connect(embedded, sent) for sent in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\nx: ")
    ]
    used = connect(embedded, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert used.recv(65536).startswith(b"HTTP/1.1 200")
    with connect(
        embedded, b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 40_000 + b"\r\n\r\n"
    ) as big:
        assert big.recv(65536).startswith(b"HTTP/1.1 431")
    assert embedded.call("GET", "/healthz").status_code == 200
    for connection in (*slow, used):
        with connection:
            while connection.recv(65536):
                pass


@pytest.mark.slow
def test_a_running_request_ends_before_the_server(embedded: ServerProcess) -> None:
    """A request whose body is still arriving at SIGTERM is answered, and has its effect."""
    token = embedded.token()
    body = b'{"description": "half-way"}'
    head = (
        f"POST /v1/keys HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with connect(embedded, head.encode() + body[:5]) as connection:
        wait_until(lambda: embedded.call("GET", "/healthz").status_code == 200, "it serves")
        embedded.signal(signal.SIGTERM)
        wait_until(lambda: not _listens(embedded), "it takes no more connections")
        connection.sendall(body[5:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 201")
    assert embedded.stop() == 0
    embedded.start()
    assert len(embedded.call("GET", "/v1/keys?query=half-way", token=token).json()["items"]) == 1


def _listens(server: ServerProcess) -> bool:
    try:
        socket.create_connection((HOST, server.port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.slow
def test_control_c_ends_all_processes_well(embedded: ServerProcess) -> None:
    """SIGINT to the whole process group, as a terminal sends it, is a clean stop: only the parent acts on it."""
    (process,) = embedded.processes()
    os.kill(process, signal.SIGINT)
    assert embedded.call("GET", "/readyz").status_code == 200
    embedded.signal(signal.SIGINT, group=True)
    assert embedded.stop() == 0
    assert '"level": "error"' not in embedded.log()
    assert embedded.log().count("Unexpected exit") == 0


@pytest.mark.slow
def test_a_storm_of_signals_ends_the_server_as_one_does(embedded: ServerProcess) -> None:
    """Hundreds of SIGINT, SIGTERM and SIGHUP, as from an impatient operator: exit code 0, and nothing hangs."""
    with suppress(ProcessLookupError):
        for _ in range(200):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                embedded.signal(number)
    assert embedded.stop() == 0


@pytest.mark.slow
def test_a_server_at_a_terminal_ends_with_it(tmp_path: Path) -> None:
    """SIGHUP is what a closing terminal sends: a server that was started there does not keep running unseen."""
    with serving(f"sqlite:///{tmp_path / 'keystead.db'}", start=False) as server:
        server.port = free_port()
        terminal, stdin = os.openpty()
        process = server.popen(KEYSTEAD, "serve", "--port", str(server.port), stdin=stdin)
        try:
            wait_until(server.is_ready, "the server is ready")
            process.send_signal(signal.SIGHUP)
            assert process.wait(30) == 0
        finally:
            process.kill()
            os.close(stdin)
            os.close(terminal)


@pytest.mark.slow
def test_a_process_that_dies_is_replaced(embedded: ServerProcess) -> None:
    """After SIGKILL to the serving process another one takes its place."""
    (before,) = embedded.processes()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: embedded.processes() not in ([], [before]), "another process")
    wait_until(embedded.is_ready, "it serves")
    assert embedded.stop() == 0


@pytest.mark.slow
def test_processes_do_not_outlive_their_parent(embedded: ServerProcess) -> None:
    """After SIGKILL to the parent alone its processes end, and the address is free."""
    embedded.signal(signal.SIGKILL)
    wait_until(lambda: not _listens(embedded), "the address is free")


@pytest.mark.slow
def test_a_renewal_takes_over_new_peppers_without_a_gap(server: ServerProcess) -> None:
    """After SIGHUP new keys use the new pepper, those of the old one stay valid, and no request fails meanwhile.

    A pepper file with which no server could start is not loaded: the processes keep running
    unchanged.
    """
    server.put_on("scale")
    token, path = server.token(), server.data / "peppers"
    old = path.read_text()
    path.rename(server.data / "old")
    fresh = make_peppers(path).current.id
    path.write_text(path.read_text() + old)
    server.signal(signal.SIGHUP)
    wait_until(lambda: _pepper_of_new_key(server, token) == fresh, "the new pepper is used")
    path.write_text("nonsense")
    server.signal(signal.SIGHUP)
    wait_until(lambda: "reload refused" in server.log(), "the renewal is refused")
    assert server.call("GET", "/v1/whoami", token=token).status_code == 200
    path.write_text(f"{old}{fresh}:{'A' * 43}=\n")
    assert server.stop() == 0


@pytest.mark.slow
def test_reloading_answers_open_connections(embedded: ServerProcess) -> None:
    """A connection that was accepted just before its process reloads has its request answered all the same."""
    (before,) = embedded.processes()
    over, answers = threading.Event(), list[bytes]()
    askers = [threading.Thread(target=_ask, args=(embedded, over, answers)) for _ in range(20)]
    for asker in askers:
        asker.start()
    embedded.signal(signal.SIGHUP)
    wait_until(lambda: before not in embedded.processes(), "the new process alone")
    over.set()
    for asker in askers:
        asker.join()
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 401"}


def _ask(server: ServerProcess, over: threading.Event, answers: list[bytes]) -> None:
    """Connect, wait, send a request, and read the response to its end, repeatedly."""
    question = b"GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    while not over.is_set():
        answer = b""
        with socket.create_connection((HOST, server.port), timeout=30) as connection:
            over.wait(0.02)
            with suppress(ConnectionError):
                connection.sendall(question)
                while part := connection.recv(65_536):
                    answer += part
        answers.append(answer)


def _pepper_of_new_key(server: ServerProcess, token: str) -> str:
    response = server.call("POST", "/v1/keys", token=token, json={"description": "probe"})
    assert response.status_code == 201
    database = Database(server.database_url)
    try:
        with read_behind(database) as tx:
            query = select(api_keys.c.pepper_id).where(api_keys.c.id == response.json()["id"])
            return str(tx.execute(query).scalar_one())
    finally:
        database.close()


@pytest.mark.slow
def test_a_local_start_prints_a_link_and_logs_none(embedded: ServerProcess) -> None:
    """The printed link opens a page of the Developer area, a new one after each start, and is in no line of the log."""
    wait_until(lambda: "Ctrl+C" in embedded.output(), "the greeting")
    first = embedded.sign_in_url
    assert httpx2.get(first, trust_env=False).status_code == 200
    embedded.stop()
    embedded.start()
    wait_until(lambda: embedded.sign_in_url != first, "another link")
    assert "link=" not in embedded.log()
    assert first.partition("=")[2] not in embedded.log()


@pytest.mark.slow
def test_behind_a_proxy_no_link_is_printed(tmp_path: Path) -> None:
    """If the output may be kept in a log, it names the command that creates a link, and contains no link."""
    arguments = ("--trusted-proxy", "127.0.0.1", "--public-url", "https://keys.example.com")
    with serving(f"sqlite:///{tmp_path / 'keystead.db'}", arguments=arguments) as server:
        wait_until(lambda: "keystead sign-in-link" in server.output(), "the greeting")
        assert "link=" not in server.output()
        # The command finds the address in the data folder, written there by the server.
        public = server.cli("sign-in-link")
        assert re.fullmatch(r"https://keys\.example\.com/sign-in\?link=\S{43}\n", public.stdout)


@pytest.mark.slow
def test_a_server_with_a_certificate_speaks_tls_alone(tmp_path: Path) -> None:
    """With a certificate https is answered, with HSTS, and plain http is not."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    )
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([*made, *name, "-keyout", key, "-out", cert], check=True, capture_output=True)
    arguments = ("--tls-cert", str(cert), "--tls-key", str(key))
    data = tmp_path / "data"
    url = f"sqlite:///{data / 'keystead.db'}"
    with serving(url, arguments=arguments, scheme="https") as server:
        trusted = ssl.create_default_context(cafile=str(cert))
        answer = httpx2.get(f"{server.base_url}/healthz", verify=trusted, trust_env=False)
        assert answer.status_code == 200
        assert "max-age" in answer.headers["strict-transport-security"]
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"http://{HOST}:{server.port}/healthz", trust_env=False)
