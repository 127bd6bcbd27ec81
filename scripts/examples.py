"""Run every example over a Keystead of its own: refused without a key, served with one, refused after its revocation.

    .venv/bin/python scripts/examples.py [NAME...]

Each example is served by granian on a free port of this machine. Exit code 1 if one does not answer as its page says.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx2

from keystead.testing import EmbeddedKeystead, embedded

ROOT: Final = Path(__file__).resolve().parent.parent
HOST: Final = "127.0.0.1"
EXAMPLES: Final = {
    "asgi_reports": "asgi",
    "starlette_reports": "asgi",
    "fastapi_reports": "asgi",
    "wsgi_reports": "wsgi",
    "flask_reports": "wsgi",
    "django_reports": "wsgi",
    "rest_framework_reports": "wsgi",
}
"""Each example with the interface of its application."""
EXPECTED: Final = [(401, "unauthenticated"), (200, None), (401, "invalid-token")]
START_SECONDS: Final = 60


def main(names: Sequence[str]) -> int:
    """Run the examples of these names, or all. Returns the exit code."""
    failed = False
    with tempfile.TemporaryDirectory(prefix="keystead-examples-") as folder:
        data = Path(folder) / "data"
        with embedded(data) as keystead:
            for name in names or EXAMPLES:
                answers = run(name, keystead, data)
                failed |= answers != EXPECTED
                without, with_key, revoked = (status for status, _ in answers)
                print(
                    f"{name:24} {without} without a key, {with_key} with one,"
                    f" {revoked} after its revocation",
                    flush=True,
                )
    return int(failed)


def run(name: str, keystead: EmbeddedKeystead, data: Path) -> list[tuple[int, str | None]]:
    """Return the status and the problem's code of its three answers."""
    token = keystead.create_key("events:read", description=name)
    answers = []
    with serving(name, data) as client:
        answers.append(client.get("/reports"))
        client.headers["authorization"] = f"Bearer {token}"
        answers.append(client.get("/reports"))
        keystead.revoke(token)
        answers.append(client.get("/reports"))
    return [(answer.status_code, answer.json().get("code")) for answer in answers]


@contextmanager
def serving(name: str, data: Path) -> Iterator[httpx2.Client]:
    """Serve an example in a process of its own, over the database of that folder."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    place = {"KEYSTEAD_DATABASE": f"sqlite:///{data / 'keystead.db'}", "PYTHONPATH": str(ROOT)}
    own = {key: value for key, value in os.environ.items() if not key.startswith("KEYSTEAD_")}
    command = ("-m", "granian", "--interface", EXAMPLES[name], f"examples.{name}:app")
    process = subprocess.Popen(
        [sys.executable, *command, "--host", HOST, "--port", str(port)],
        env=own | place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx2.Client(base_url=f"http://{HOST}:{port}", trust_env=False, timeout=60) as client:
            wait_for(client, process)
            yield client
    finally:
        process.terminate()
        process.wait()


def wait_for(client: httpx2.Client, process: subprocess.Popen[bytes]) -> None:
    """Wait until the example answers. Raises RuntimeError if it ends, or does not answer in time."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx2.TransportError):
            client.get("/")
            return
        time.sleep(0.05)
    raise RuntimeError("the example did not start")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
