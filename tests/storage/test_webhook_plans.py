"""How the engines run queries about webhooks, with any number of endpoints and deliveries of others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from keystead.domain.ids import DeliveryId, WebhookId, WorkspaceId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, operator
from keystead.domain.webhooks import Attempt, DeliveryStatus, Outcome
from keystead.services.deliveries import Deliveries, Sent
from keystead.services.installation_counts import InstallationCounts
from keystead.services.key_lifecycle import KeyLifecycle
from keystead.services.sealing import Sealing, WebhookSecrets, place_of, seal_secrets
from keystead.storage.schema import tables as schema
from tests.support.administrator import tidy, write_behind
from tests.support.clocks import NOON
from tests.support.installations import (
    ENGINES,
    PEPPERS,
    UNLIMITED,
    SandboxInstallation,
    fresh_sandbox,
)
from tests.support.plans import plans_of

WORKSPACES, ENDPOINTS, EVENTS = 40, 4, 60
"""The endpoints of each workspace; each endpoint has a delivery of every event: some ten thousand."""
GROWING = ("deliveries", "delivery_attempts", "events", "webhook_endpoints", "webhook_queues")
SEARCHED = ("api_keys", "key_callers")


@dataclass(frozen=True)
class Crowd:
    """Many workspaces with many deliveries; one of them is the tenant's."""

    sandbox: SandboxInstallation
    tenant: Principal

    @property
    def webhook(self) -> WebhookId:
        """Return one of the tenant's endpoints."""
        return webhook_id(0, 1)

    def delivery(self, number: int) -> DeliveryId:
        """Return one of its deliveries."""
        return delivery_id(0, 1, number)

    @property
    def deliveries(self) -> Deliveries:
        """The queries of workers."""
        return self.sandbox.services.deliveries

    def work(self) -> None:
        """Run a worker's round: claim, extend, complete, release."""
        batches = self.deliveries.claim(endpoints=3, messages=5)
        assert len(batches) == 3
        self.deliveries.extend(batches)
        attempt = Attempt(self.sandbox.clock.now(), 204, None, 3)
        sent = [Sent(m.delivery, Outcome(attempt)) for batch in batches for m in batch.messages]
        self.deliveries.settle(sent, batches)

    def look(self) -> None:
        """Search for lifecycle events of keys."""
        KeyLifecycle(self.sandbox.database, self.sandbox.clock).run()


def webhook_id(workspace: int, endpoint: int) -> WebhookId:
    """Return an id of the right form."""
    return WebhookId(f"wh_{workspace * ENDPOINTS + endpoint:022}")


def delivery_id(workspace: int, endpoint: int, number: int) -> DeliveryId:
    """Return an id of the right form."""
    return DeliveryId(f"dlv_{(workspace * ENDPOINTS + endpoint) * EVENTS + number:022}")


@pytest.fixture(scope="module", params=ENGINES)
def crowd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crowd]:
    """Many workspaces with many deliveries, and the statistics of a database in use."""
    with fresh_sandbox(request, tmp_path_factory, request.param) as sandbox:
        with write_behind(sandbox.database) as tx:
            for table, rows in _rows().items():
                tx.execute(insert(table), rows)
        tidy(sandbox.database)
        yield Crowd(sandbox, operator("tests", WorkspaceId(f"ws_{0:022}")))


def _rows() -> dict[Any, list[dict[str, Any]]]:
    by = {"kind": "operator", "id": "tests", "name": "tests"}
    actor = {f"actor_{name}": value for name, value in by.items()}
    creator = {f"created_by_{name}": value for name, value in by.items()}
    tables = (
        schema.workspaces, schema.events, schema.webhook_endpoints, schema.webhook_queues,
        schema.deliveries, schema.delivery_attempts,
    )  # fmt: skip
    rows: dict[Any, list[dict[str, Any]]] = {table: [] for table in tables}
    for place in range(WORKSPACES):
        own = {"workspace_id": WorkspaceId(f"ws_{place:022}")}
        rows[schema.workspaces].append(
            {"id": own["workspace_id"], "name": "W", "plan_id": UNLIMITED, "created_at": NOON}
            | {"last_event": EVENTS}
        )
        for number in range(EVENTS):
            rows[schema.events].append(
                own | actor | {"sequence": number, "id": f"evt_{number:022}", "type": "key.created"}
                | {"occurred_at": NOON, "target_type": "key", "target_id": "key_1", "data": {}}
            )  # fmt: skip
        for endpoint in range(ENDPOINTS):
            id = webhook_id(place, endpoint)
            which = own | {"webhook_id": id}
            sealed = seal_secrets(
                Sealing(PEPPERS), WebhookSecrets("whsec_x"), place_of(own["workspace_id"], id)
            )
            rows[schema.webhook_endpoints].append(
                own | creator | {"id": id, "name": "x", "url": "https://example.com/"}
                | {"event_types": "*", "status": "active", "created_at": NOON, "header_names": []}
                | {"pepper_id": sealed.pepper_id, "sealed": sealed.value}
            )  # fmt: skip
            due = NOON if endpoint == 1 else None
            rows[schema.webhook_queues].append(which | {"due_at": due})
            for number in range(EVENTS):
                pending = endpoint == 1 and number >= EVENTS - 20
                status = "pending" if pending else "failed" if number == 3 else "delivered"
                delivery = delivery_id(place, endpoint, number)
                rows[schema.deliveries].append(
                    which | {"id": delivery, "event_sequence": number, "status": status}
                    | {"created_at": NOON, "started_at": NOON, "step": 0 if pending else 1}
                    | {"attempts": 0 if pending else 1}
                    | {"next_attempt_at": NOON if pending else None}
                )  # fmt: skip
                if not pending:
                    rows[schema.delivery_attempts].append(
                        own | {"delivery_id": delivery, "number": 1, "at": NOON, "status": 200}
                        | {"milliseconds": 1}
                    )  # fmt: skip
    return rows


def _plans(crowd: Crowd, act: Callable[[], object]) -> list[str]:
    return plans_of(crowd.sandbox.database, act)


def _scans(plan: str) -> list[str]:
    """Return the growing tables that a plan reads from end to end, or along an index without a condition."""
    whole = re.findall(r"(?:SCAN|Seq Scan on) (\w+)", plan)
    along = re.findall(r"Index \w*\s?Scan \w*\s?using \w+ on (\w+).*\n(?!\s+Index Cond)", plan)
    return [table for table in whole + along if table in (*GROWING, *SEARCHED)]


ACTS: dict[str, Callable[[Crowd], object]] = {
    "a worker's round": lambda c: c.work(),
    "a change that is told": lambda c: c.sandbox.services.keys.create(c.tenant, KeyDraft("x")),
    "webhooks": lambda c: c.sandbox.services.webhooks.list(c.tenant),
    "deliveries": lambda c: c.sandbox.services.webhooks.deliveries(c.tenant, c.webhook, limit=5),
    "next deliveries": lambda c: c.sandbox.services.webhooks.deliveries(
        c.tenant, c.webhook, limit=5, before=30
    ),
    "failed deliveries": lambda c: c.sandbox.services.webhooks.deliveries(
        c.tenant, c.webhook, limit=5, status=DeliveryStatus.FAILED
    ),
    "one delivery": lambda c: c.sandbox.services.webhooks.delivery(c.tenant, c.delivery(5)),
    "sending again": lambda c: c.sandbox.services.webhooks.redeliver(c.tenant, c.delivery(6)),
    "a test": lambda c: c.sandbox.services.webhooks.test(c.tenant, c.webhook),
    "quota": lambda c: c.sandbox.services.plans.use(c.tenant),
}


@pytest.mark.parametrize("name", ACTS)
def test_no_scans(crowd: Crowd, name: str) -> None:
    """No query about one endpoint, and no round of a worker, reads a table from end to end."""
    crowd.sandbox.clock.advance(timedelta(minutes=1))
    for plan in _plans(crowd, lambda: ACTS[name](crowd)):
        assert _scans(plan) == [], plan


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("a worker's round", "webhook_queues_due"),
        ("a worker's round", "deliveries_due"),
        ("failed deliveries", "deliveries_failed"),
    ],
)
def test_what_waits_is_found_among_what_is_done(crowd: Crowd, name: str, index: str) -> None:
    """The few that are due, and the few that failed, have indexes of their own, among the many delivered."""
    crowd.sandbox.clock.advance(timedelta(minutes=1))
    assert index in "\n".join(_plans(crowd, lambda: ACTS[name](crowd)))


def test_the_gauges_count_along_indexes(crowd: Crowd) -> None:
    """What is counted for the metrics reads what waits in its index, and no row of the many others."""
    counts = InstallationCounts(crowd.sandbox.database, crowd.sandbox.clock)
    [plan] = [plan for plan in _plans(crowd, counts.read) if "key_counts" in plan]
    for index in ("deliveries_due", "webhook_queues_due"):
        assert index in plan, plan
    assert not re.search(
        r"(?:SCAN|Seq Scan on) (?:deliveries|webhook_queues)$", plan, re.MULTILINE
    ), plan


def test_the_searches_over_keys_go_along_an_index(crowd: Crowd) -> None:
    """Expired and refused keys are found by their own indexes; the search for unused ones walks the ids in batches."""
    crowd.look()
    crowd.sandbox.clock.advance(timedelta(days=2))
    plans = _plans(crowd, crowd.look)
    text = "\n".join(plans)
    assert "api_keys_by_expiry" in text
    assert "key_callers_refused" in text
    walks = [plan for plan in plans if _scans(plan)]
    assert all("api_keys.id > " in plan and "LIMIT" in plan for plan in walks), walks
