"""How responses of an endpoint are judged: which accept, which refuse, and which report nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from keystead_prove.report import At, Finding, Report, SeededFault, Verdict, as_json, as_markdown
from keystead_prove.servers.calls import Refused, create
from keystead_prove.servers.connection import Connection, Reply
from keystead_prove.servers.endpoints import INTROSPECTION, Endpoint, Probe, through
from keystead_prove.servers.faulty_server import MANAGER, Fault, faulty_server

INTROSPECTING = Probe(INTROSPECTION, "/introspect", "/introspect", "a credential")


class Answering(Connection):
    """A connection on which every request gets the same response."""

    def __init__(self, status: int, body: bytes) -> None:
        self._told = Reply(status, 1, 2, body)

    def _ask(self, *_: Any, **__: Any) -> Reply:
        return self._told


@pytest.mark.parametrize(
    ("status", "body", "narrowed", "told"),
    [
        (200, b'{"active":true,"scope":"*"}', False, 200),
        (200, b'{"active":true,"scope":"documents:read"}', False, 200),
        (200, b'{"active":true,"scope":"documents:read"}', True, 403),
        (200, b'{"active":true,"scope":"*"}', True, 200),
        (200, b'{"active":false}', True, 401),
        (200, b'{"active":false}', False, 401),
        (401, b"", False, 500),
        (503, b"", False, 503),
        (0, b"", False, 0),
    ],
)
def test_an_introspection_says_what_others_say(
    status: int, body: bytes, narrowed: bool, told: int
) -> None:
    """An inactive token is refused, and a lost scope forbidden; a refusal of the service itself is neither."""
    reply = INTROSPECTING.ask(Answering(status, body), "a token", narrowed=narrowed)
    assert reply.status == told


def test_an_endpoint_shows_lost_scopes_if_it_checks_them() -> None:
    """If keys lose scopes, probes of any live key are left out; an endpoint without other probes is left out too."""
    scoped = Probe("scoped", "/a", "/b")
    endpoint = Endpoint("http://127.0.0.1:1", [Probe("any", "/any"), scoped])
    assert endpoint.detecting(narrowed=False) == endpoint
    assert endpoint.detecting(narrowed=True) == replace(endpoint, probes=[scoped])
    assert Endpoint(endpoint.url, [Probe("any", "/any")]).detecting(narrowed=True) is None


def test_an_address_is_probed_before_it_is_an_endpoint() -> None:
    """It accepts a key and refuses a request without one; a probe finds out whether it shows lost scopes."""
    with faulty_server(Fault.UNSYNCED) as server:
        (url,) = server.target.urls
        with Connection(url, MANAGER) as line:
            live = create(line)
        open_to_live = through(f"{url}/v1/whoami?page=1", MANAGER, live)
        scoped = through(f"{url}/v1/whoami?page=1", MANAGER, replace(live, token="nobody's"))
        with pytest.raises(Refused, match="does not accept"):
            through(f"{url}/v1/whoami", "nobody's", live)
        with pytest.raises(Refused, match="does not refuse"):
            through(f"{url}/readyz", MANAGER, live)
    (probe,) = open_to_live.probes
    assert (probe.name, probe.path) == (f"{url}/v1/whoami", "/v1/whoami?page=1")
    assert probe.narrow is None
    assert scoped.probes[0].narrow == "/v1/whoami?page=1"


def test_a_way_of_asking_that_showed_nothing_leaves_the_verdict_open() -> None:
    """If a probe saw no seeded cache, and others did, the result is not conclusive, and the report names the probe."""
    seen = At("REST", 10, 4, 2, wrong=0, worst=-1.0, sees=1.0)
    blind = At("https://app.example.com/x", 10, 4, 2, wrong=0, worst=None, sees=None)
    finding = Finding("e", "f", "p", 5, {"wrong": 0}, SeededFault("a", 10, 9), at=[seen])
    assert finding.verdict is Verdict.HELD
    doubtful = replace(finding, at=[seen, blind])
    assert doubtful.verdict is Verdict.INCONCLUSIVE
    report = Report(datetime(2026, 11, 23, tzinfo=UTC), 1.0, {}, [doubtful])
    assert f"{blind.name}: 10 verifications" in as_markdown(report)
    assert "no seeded cache seen" in as_markdown(report)
    assert '"sees": null' in json.dumps(as_json(report))
