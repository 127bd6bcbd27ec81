"""Checks of a running server from outside: whether it serves, the keys it knows, and its memory."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

from keystead import bootstrap
from keystead.domain.ids import KeyId
from keystead.domain.principals import system
from keystead.domain.usage import Period
from tests.support.server_process import HOST, ServerProcess


def ids_of(server: ServerProcess, tokens: list[str]) -> list[str]:
    """Return the IDs of these tokens' keys. The request is a use of each."""
    return [str(server.call("GET", "/v1/whoami", token=t).json()["key"]["id"]) for t in tokens]


def recorded_uses(server: ServerProcess, ids: list[str]) -> list[int]:
    """Return how many uses are recorded for each of these keys."""
    installation = bootstrap.open_safely(server.settings)
    try:
        services = installation.services
        principal = system(services.workspaces.first().workspace_id)
        today = datetime.now(UTC).date()
        period = Period(today - timedelta(days=2), today + timedelta(days=1))
        of_key = services.usage_reports.of_key
        days = [of_key(principal, KeyId(id), period) for id in ids]
        return [sum(use.requests for use in each.values()) for each in days]
    finally:
        installation.close()


def can_create(server: ServerProcess, token: str) -> bool:
    """Return whether a key is created."""
    return (
        server.call("POST", "/v1/keys", token=token, json={"description": "x"}).status_code == 201
    )


def is_served(port: int) -> bool:
    """Return whether an honest client gets a response."""
    connection = HTTPConnection(HOST, port, timeout=20)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def memory_of(server: ServerProcess) -> int:
    """Return the resident memory of the server's processes, in bytes."""
    total = 0
    for process in server.processes():
        status = Path(f"/proc/{process}/status").read_text()
        total += int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024
    return total
