"""Managing your keys: seeing them and their use, changing, rotating, and revoking them."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.postgres import wait_until
from tests.support.product import Customer, OpenConnection, next_second, written
from tests.support.server_process import ServerProcess


def test_i_see_when_and_from_where_a_key_was_last_used(customer: Customer) -> None:
    """Within seconds, of the last request that got in: when, from which address, by which program."""
    key = customer.create(scopes=["documents:read"])
    assert customer.see(key)["last_used_at"] is None
    agent = {"user-agent": "nightly-export/2.1"}
    customer.send("GET", "/v1/whoami", key=key, headers={"user-agent": "first/1.0"})
    last = customer.send("GET", "/v1/whoami", key=key, headers=agent)
    refused = customer.send("GET", "/v1/keys", key=key, headers={"user-agent": "refused/1.0"})
    assert (last.status_code, refused.status_code) == (200, 403)
    wait_until(lambda: customer.see(key)["last_used_at"] is not None, "the use shows")
    seen = customer.see(key)
    assert (seen["last_used_ip"], seen["last_used_agent"]) == ("127.0.0.1", agent["user-agent"])
    used = datetime.fromisoformat(seen["last_used_at"])
    assert datetime.fromisoformat(seen["created_at"]) <= used


def test_i_revoke_a_key_and_the_same_curl_line_answers_401(customer: Customer) -> None:
    """The line that answered 200 answers 401 from the next time on."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    key = customer.create("laptop that was stolen")
    url = f"{customer.product.server.base_url}/v1/whoami"
    line = f'curl -s -o /dev/null -w "%{{http_code}}" {url} -H "Authorization: Bearer $TOKEN"'

    def status() -> str:
        environment = {"PATH": os.environ["PATH"], "TOKEN": key.token}
        said = subprocess.run(
            ["sh", "-c", line], env=environment, stdout=subprocess.PIPE, check=True
        )
        return said.stdout.decode()

    assert status() == "200"
    customer.revoke(key)
    assert [status() for _ in range(3)] == ["401"] * 3


def test_a_revoked_key_is_refused_on_open_connections_of_every_server(
    customer: Customer, both_servers: list[ServerProcess]
) -> None:
    """Connections that were let in a moment ago, to either of two servers, are refused with their next request."""
    for _ in range(5):
        key = customer.create()
        pool = [OpenConnection(server, key) for server in both_servers * 3]
        assert {connection.status() for connection in pool} == {200}
        customer.revoke(key)
        assert {connection.status() for connection in pool} == {401}
        for connection in pool:
            connection.close()


def test_a_busy_key_is_refused_from_the_answer_of_its_revocation_on(
    customer: Customer, both_servers: list[ServerProcess]
) -> None:
    """Whatever is under way at both servers: no request that begins after the answer gets in."""
    key, began, revoked = customer.create(), threading.Barrier(5), threading.Event()
    late: list[int] = []

    def work(connection: OpenConnection) -> None:
        began.wait()
        left = 20
        while left:
            counts = revoked.is_set()
            status = connection.status()
            if counts:
                late.append(status)
                left -= 1

    pool = [OpenConnection(server, key) for server in both_servers * 2]
    workers = [threading.Thread(target=work, args=(connection,)) for connection in pool]
    for worker in workers:
        worker.start()
    began.wait()
    customer.revoke(key)
    revoked.set()
    for worker, connection in zip(workers, pool, strict=True):
        worker.join()
        connection.close()
    assert (len(late), set(late)) == (80, {401})


def test_a_revoked_key_stays_in_my_list_and_nothing_brings_it_back(customer: Customer) -> None:
    """I see when it ended; a change, a rotation and a second revocation leave it dead."""
    key = customer.create("old vendor")
    customer.revoke(key)
    seen = customer.see(key)
    assert seen["status"] == "revoked"
    path = f"/v1/keys/{key.id}"
    for method, place in (("PATCH", path), ("POST", f"{path}/rotate")):
        body = {"expires_at": written(next_second(3600))}
        assert customer.request_json(method, place, body, status=409)["code"] == "key-revoked"
    customer.revoke(key)
    assert customer.see(key) == seen
    assert seen in customer.keys("?status=revoked")
    assert not customer.works(key)


def test_i_find_the_key_that_a_log_names_by_its_last_four(customer: Customer) -> None:
    """The hint of a found token, a word of the description, or the id lead to the one key among others."""
    keys = [customer.create(f"export {region}") for region in ("eu-west", "eu-north", "us-east")]
    wanted = keys[1]
    for query in (wanted.resource["hint"][-4:], "NORTH", wanted.id):
        assert wanted.id in [key["id"] for key in customer.keys(f"?query={query}")], query
    assert len(customer.keys("?query=export+eu")) == 2


def test_i_narrow_a_key_and_it_can_do_less_from_the_next_request_on(customer: Customer) -> None:
    """Scopes that I remove are gone immediately, and do not come back."""
    key = customer.create("importer", scopes=["collections:read", "collections:write"])
    customer.request_json("POST", "/v1/collections", {"name": "one"}, status=201, key=key)
    path = f"/v1/keys/{key.id}"
    changed = {"description": "importer, read-only now", "scopes": ["collections:read"]}
    customer.request_json("PATCH", path, changed)
    assert customer.send("POST", "/v1/collections", {"name": "two"}, key=key).status_code == 403
    assert customer.send("GET", "/v1/collections", key=key).status_code == 200
    wider = {"scopes": ["collections:read", "collections:write"]}
    assert customer.request_json("PATCH", path, wider, status=403)["code"] == "would-widen"


def test_i_rotate_with_an_overlap_and_then_only_the_new_key_works(
    customer: Customer, both_servers: list[ServerProcess]
) -> None:
    """Both work until the overlap ends; from then on the old one is refused on both servers, and the new one is not."""
    old = customer.create("rotated")
    new = customer.rotate(old, overlap_seconds=2)
    for server in both_servers:
        assert customer.works(new, server)
        assert customer.works(old, server)
    seen = customer.see(old)
    assert seen["rotated_to"] == new.id
    ends, made = (
        datetime.fromisoformat(text) for text in (seen["expires_at"], new.resource["created_at"])
    )
    # The overlap ends with a whole second, never later than was asked.
    assert timedelta(seconds=1) < ends - made <= timedelta(seconds=2)
    assert ends.microsecond == 0
    for server in both_servers:
        wait_until(lambda at=server: not customer.works(old, at), "the overlap ends")  # type: ignore[misc]
    assert datetime.now(UTC) > ends - timedelta(milliseconds=250)
    assert all(customer.works(new, server) for server in both_servers)
    assert customer.see(old)["status"] == "expired"


def test_i_rotate_without_an_overlap_when_a_token_has_leaked(customer: Customer) -> None:
    """The leaked token is dead when I hold the new one, which may do what the old one might."""
    leaked = customer.create("in a public repository", scopes=["documents:read"])
    new = customer.rotate(leaked)
    assert not customer.works(leaked)
    assert customer.works(new)
    assert new.resource["description"] == leaked.resource["description"]
    assert new.resource["scopes"] == leaked.resource["scopes"]


def test_a_key_ends_itself_without_any_further_right(customer: Customer) -> None:
    """Who finds a token can end it with nothing but the token."""
    found = customer.create("found on a train", scopes=["documents:read"])
    assert customer.send("DELETE", f"/v1/keys/{found.id}", key=found).status_code == 204
    assert not customer.works(found)


def test_i_can_tell_what_happened_to_a_key(customer: Customer) -> None:
    """Each change is on record, once and in order: what, by whom, from where, and never with the token."""
    key = customer.create("recorded")
    customer.request_json("PATCH", f"/v1/keys/{key.id}", {"description": "recorded well"})
    new = customer.rotate(key, overlap_seconds=60)
    customer.revoke(key)
    events = customer.request_json("GET", "/v1/events")["items"]
    mine = [event for event in reversed(events) if event["target"]["id"] in {key.id, new.id}]
    types = [event["type"] for event in mine]
    assert types == ["key.created", "key.updated", "key.rotated", "key.revoked"]
    assert {event["actor"]["name"] for event in mine} == {"provisioning"}
    assert {event["address"] for event in mine} == {"127.0.0.1"}
    assert len({event["request_id"] for event in mine}) == 4
    assert mine[2]["data"]["rotated_to"] == new.id
