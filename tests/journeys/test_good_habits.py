"""Good habits: a key for each job, an end for each key, rotation without a pause, and pruning."""

from __future__ import annotations

import threading
import time
from functools import partial

from tests.support.postgres import wait_until
from tests.support.product import Customer, in_days, next_second, written
from tests.support.server_process import ServerProcess

CARRIED_SECONDS = 0.25
"""How far from the instant a natural expiry may be seen: the database's clock is carried by the machine's own."""


def test_a_key_for_each_job_ends_without_the_others(customer: Customer) -> None:
    """When one job's key goes, the other jobs do not notice."""
    jobs = [customer.create(job) for job in ("nightly export", "dashboard", "billing")]
    customer.revoke(jobs[1])
    assert [customer.works(key) for key in jobs] == [True, False, True]


def test_a_key_ends_when_i_said(customer: Customer, both_servers: list[ServerProcess]) -> None:
    """It works until its expiry and is refused from then on, to a quarter of a second, on both servers."""
    ends = next_second()
    key = customer.create("for today's import", expires_at=written(ends))
    seen = []
    while time.time() < ends.timestamp() + 2 * CARRIED_SECONDS:
        for server in both_servers:
            began = time.time()
            works = customer.works(key, server)
            seen.append((began - ends.timestamp(), time.time() - ends.timestamp(), works))
    assert any(works for _, _, works in seen)
    assert not [1 for began, _, works in seen if works and began > CARRIED_SECONDS]
    assert not [1 for _, ended, works in seen if not works and ended < -CARRIED_SECONDS]
    assert not any(customer.works(key, server) for server in both_servers)
    assert customer.see(key)["status"] == "expired"


def test_a_key_that_ends_soon_says_so(customer: Customer) -> None:
    """In its last fourteen days every answer to it carries the instant, so that my monitoring warns me in time."""
    soon = customer.create(expires_at=in_days(13))
    later = customer.create(expires_at=in_days(30))
    told = [
        customer.send("GET", "/v1/whoami", key=key).headers.get("keystead-key-expires")
        for key in (soon, later)
    ]
    assert told == [soon.resource["expires_at"], None]


def test_i_rotate_while_my_service_works_and_no_request_is_refused(customer: Customer) -> None:
    """The service takes the new token in the overlap, when it is ready; then I end the old key, without a pause."""
    held, served, stop = [customer.create("service")], [], threading.Event()

    def serve() -> None:
        while not stop.is_set():
            key = held[-1]
            served.append((key.id, customer.works(key)))

    service = threading.Thread(target=serve)
    service.start()
    try:
        for _ in range(5):
            old = held[-1]
            new = customer.rotate(old, overlap_seconds=3600)
            held.append(new)
            wait_until(partial(_is_in_use, new.id, served), "the service uses the new token")
            customer.revoke(old)
    finally:
        stop.set()
        service.join()
    assert {id for id, _ in served} >= {key.id for key in held[1:]}
    assert all(works for _, works in served)


def _is_in_use(key_id: str, served: list[tuple[str, bool]]) -> bool:
    return bool(served) and served[-1][0] == key_id


def test_i_prune_the_keys_that_were_never_used(customer: Customer) -> None:
    """The list shows which of my keys are unused; revoking those leaves the ones in use alone."""
    keys = [customer.create(f"key {number}") for number in range(4)]
    used = keys[1::2]
    assert all(customer.works(key) for key in used)
    wait_until(lambda: all(customer.see(key)["last_used_at"] for key in used), "the use shows")
    idle = [key["id"] for key in customer.keys("?status=active") if key["last_used_at"] is None]
    assert sorted(idle) == sorted(key.id for key in keys[0::2])
    for key in keys:
        if key.id in idle:
            customer.revoke(key)
    assert [customer.works(key) for key in keys] == [False, True, False, True]
