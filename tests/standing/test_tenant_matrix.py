"""Workspaces are isolated: every call of the API with every id of a neighbor, from OpenAPI.

A new call of the API is tested once it is described; a new kind of id is added to `Neighbour.ids`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import httpx2
import pytest
from sqlalchemy import select

from keystead.api.operations import KEY
from keystead.domain.ids import number_of
from keystead.domain.token import assemble
from keystead.storage.schema import tables as schema
from tests.support.administrator import read_behind
from tests.support.api_client import ApiClient, ApiInstallation, Tenant, open_api, problem
from tests.support.described_calls import CALLS, sample_body

OPERATIONS = [found for found in CALLS if KEY in found[2]["security"][0]]
"""Calls for keys: path, method, operation. For the others no workspace is a neighbor."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OWN = "mine"
"""The collection that only the caller has."""
HOOK = {"name": "theirs", "url": "https://example.com/hooks", "events": ["*"]}


@dataclass
class Neighbour:
    """A workspace with one of everything, and all its ids."""

    tenant: Tenant
    client: ApiClient
    collections: tuple[str, ...]
    documents: tuple[str, ...]
    keys: tuple[str, ...]
    webhooks: tuple[str, ...]
    deliveries: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Return every id of every kind."""
        events = self.client.get("/v1/events").json()["items"]
        return (
            *self.keys,
            *self.collections,
            *self.documents,
            *self.webhooks,
            *self.deliveries,
            *(event["id"] for event in events[:3]),
            *(event["request_id"] for event in events[:1]),
            self.tenant.id,
        )

    def rows(self) -> str:
        """Return a digest of everything that the database has of this workspace."""
        digest = hashlib.sha256()
        with read_behind(self.tenant.api.installation.database) as tx:
            for table in schema.metadata.sorted_tables:
                column = table.c.get("workspace_id", table.c.id if "id" in table.c else None)
                if column is not None:
                    rows = tx.execute(select(table).where(column == self.tenant.id))
                    digest.update(repr((table.name, sorted(map(repr, rows)))).encode())
        return digest.hexdigest()


class Probe(NamedTuple):
    """A request for something of the neighbor's, and the same for something that never existed."""

    operation: str
    method: str
    foreign: str
    never: str
    body: Any
    refused: tuple[int, str] | None


def neighbour_of(api: ApiInstallation) -> Neighbour:
    """Create a workspace with keys in every state, collections, documents, a webhook and an Idempotency-Key."""
    tenant = api.tenant()
    client = tenant.client()
    webhook = client.post("/v1/webhooks", HOOK).json()["id"]
    active, revoked, rotated = (client.create_key()["id"] for _ in range(3))
    client.delete(f"/v1/keys/{revoked}")
    successor = client.post(f"/v1/keys/{rotated}/rotate", {"overlap_seconds": 60}).json()["id"]
    client.post("/v1/keys", {"description": "once"}, [("idempotency-key", "theirs")])
    for name in ("theirs", "empty"):
        client.collection(name)
    for id in ("one", "two"):
        client.put(f"/v1/collections/theirs/documents/{id}", {"text": "quiet words"})
    api.services.usage.flush()
    assert client.key_id is not None
    keys = (client.key_id, active, revoked, rotated, successor)
    deliveries = client.get(f"/v1/webhooks/{webhook}/deliveries?limit=1").json()["items"]
    sent = tuple(delivery["id"] for delivery in deliveries)
    return Neighbour(tenant, client, ("theirs", "empty"), ("one", "two"), keys, (webhook,), sent)


def never_existed(id: str) -> str:
    """Return an unused id of the same form."""
    kind, _, tail = id.rpartition("_")
    if not kind or len(tail) != 22:
        return f"never-{id}"
    return assemble("ks", number_of(id) ^ 1, bytes(32)).key_id.replace("key_", f"{kind}_")


def bodies(operation: dict[str, Any]) -> list[Any]:
    """Return a valid and an invalid body for the operation; no body if it takes none."""
    if "requestBody" not in operation:
        return [None]
    return [sample_body(operation), {"nonsense": 1}]


def probes_by_path(neighbour: Neighbour) -> Iterator[Probe]:
    """Yield every operation with every id in every place, with valid, invalid and senseless requests."""
    ids = neighbour.ids
    for path, method, operation in OPERATIONS:
        places = re.findall(r"\{(\w+)\}", path)
        for values, body in product(product(ids, repeat=len(places)), bodies(operation)):
            if len(places) == 2 and values[1] not in neighbour.documents:
                continue
            if places:
                foreign, never = fill(path, places, values), fill(path, places, nobodies(values))
                refusal = (404, "not-found")
                yield Probe(operation["operationId"], method.upper(), foreign, never, body, refusal)
                senseless = f"{foreign}?x=1", f"{never}?x=1"
                yield Probe(operation["operationId"], method.upper(), *senseless, body, refusal)


def fill(path: str, places: list[str], values: tuple[str, ...]) -> str:
    """Return the path with those values."""
    return path.format(**dict(zip(places, values, strict=True)))


def nobodies(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return unused values of the same forms."""
    return tuple(never_existed(value) for value in values)


def probes_within_own(neighbour: Neighbour) -> Iterator[Probe]:
    """Yield requests with the neighbor's ids among the caller's own: documents, filters, batches."""
    for path, method, operation in OPERATIONS:
        id, verb = operation["operationId"], method.upper()
        own = path.replace("{name}", OWN)
        if path.endswith("/documents/{id}") and verb != "PUT":
            for theirs in neighbour.ids:
                foreign, never = (own.replace("{id}", each) for each in twins(theirs))
                yield Probe(id, verb, foreign, never, None, (404, "not-found"))
        if "query" in {parameter["name"] for parameter in operation.get("parameters", ())}:
            for theirs in neighbour.ids:
                foreign, never = (f"{own}?query={each}" for each in twins(theirs))
                yield Probe(id, verb, foreign, never, None, None)


def twins(id: str) -> tuple[str, str]:
    """Return the id and an unused one."""
    return id, never_existed(id)


def probes_by_cursor(neighbour: Neighbour, hook: str) -> Iterator[Probe]:
    """Yield the neighbor's cursors at every list, with invented ones; `hook` is the caller's webhook."""
    sent = f"/v1/webhooks/{neighbour.webhooks[0]}/deliveries"
    documents = "/v1/collections/theirs/documents"
    lists = ("/v1/keys", "/v1/collections", "/v1/events", documents, sent)
    theirs = [neighbour.client.get(f"{path}?limit=1").json()["next_cursor"] for path in lists]
    for path, method, operation in OPERATIONS:
        if listed(operation):
            collection_path = path.replace("{name}", OWN).replace("{id}", hook)
            own = f"{collection_path}?limit=1&cursor="
            for cursor in theirs:
                foreign, never = own + cursor, own + unbound(cursor)
                refusal = (422, "invalid-cursor")
                yield Probe(operation["operationId"], method.upper(), foreign, never, None, refusal)


def unbound(cursor: str) -> str:
    """Return the cursor with another binding, which no list issued."""
    data = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    data[0] ^= 1
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def probes_by_method(neighbour: Neighbour) -> Iterator[Probe]:
    """Yield methods that a path does not accept, with ids of the neighbor's in it."""
    taken = Counter((path, method.upper()) for path, method, _ in OPERATIONS)
    for path in sorted({path for path, _, _ in OPERATIONS if path.endswith("{id}")}):
        places = re.findall(r"\{(\w+)\}", path)
        values = (neighbour.collections[0], neighbour.documents[0])[-len(places) :]
        for method in (each for each in METHODS if not taken[path, each]):
            foreign, never = fill(path, places, values), fill(path, places, nobodies(values))
            yield Probe("none", method, foreign, never, None, (405, "method-not-allowed"))


def shown(answer: httpx2.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return the whole response except its request id."""
    headers = [(name, value) for name, value in answer.headers.items() if name != "x-request-id"]
    return answer.status_code, answer.content, headers


@pytest.fixture
def api(database_url: str) -> Iterator[ApiInstallation]:
    """An installation for each test, on each engine: the digest of rows reads all of it."""
    with open_api(database_url) as api:
        yield api


@pytest.mark.slow_on("postgresql")
def test_a_neighbour_s_ids_are_as_if_they_never_existed(api: ApiInstallation) -> None:
    """Every call with every id and cursor of another workspace: not found, and no effect."""
    neighbour = neighbour_of(api)
    caller = api.tenant().client()
    caller.collection(OWN)
    hook = caller.post("/v1/webhooks", HOOK).json()["id"]
    before = neighbour.rows()
    kinds = [probes_by_path, probes_within_own, probes_by_method]
    probes = [probe for kind in kinds for probe in kind(neighbour)]
    probes += probes_by_cursor(neighbour, hook)
    told_apart = []
    for probe in probes:
        foreign = caller.send(probe.method, probe.foreign, probe.body)
        never = caller.send(probe.method, probe.never, probe.body)
        if probe.refused is not None and probe.method != "HEAD":
            assert problem(foreign) == probe.refused, (probe.method, probe.foreign)
        if shown(foreign) != shown(never):
            told_apart.append((probe.method, probe.foreign))
    assert told_apart == []
    assert neighbour.rows() == before
    assert len(probes) >= 500
    with_ids = {operation["operationId"] for path, _, operation in OPERATIONS if "{" in path}
    lists = {operation["operationId"] for _, _, operation in OPERATIONS if listed(operation)}
    assert {probe.operation for probe in probes} == with_ids | lists | {"none"}


def listed(operation: dict[str, Any]) -> bool:
    """Return whether the operation is a list."""
    return any(parameter["name"] == "cursor" for parameter in operation.get("parameters", ()))


def test_the_probes_reach_what_is_one_s_own(api: ApiInstallation) -> None:
    """The control: the neighbor itself, with the same requests, finds all its objects."""
    neighbour = neighbour_of(api)
    client = neighbour.client
    for key in neighbour.keys:
        assert client.get(f"/v1/keys/{key}").status_code == 200
    for name in neighbour.collections:
        assert client.get(f"/v1/collections/{name}").status_code == 200
    for id in neighbour.documents:
        assert client.get(f"/v1/collections/theirs/documents/{id}").status_code == 200
    for id in neighbour.webhooks:
        assert client.get(f"/v1/webhooks/{id}").status_code == 200
    for id in neighbour.deliveries:
        assert client.get(f"/v1/deliveries/{id}").status_code == 200
    before = neighbour.rows()
    assert client.patch(f"/v1/keys/{neighbour.keys[1]}", {"description": "x"}).status_code == 200
    assert neighbour.rows() != before


@pytest.mark.slow_on("postgresql")
def test_lists_hold_nothing_of_a_neighbour(api: ApiInstallation) -> None:
    """Whatever another workspace does, lists, counts, quotas and searches of this one are the same bytes."""
    caller = api.tenant().client()
    path = caller.collection(OWN)
    caller.put(f"{path}/documents/one", {"text": "loud words"})
    places = [
        "/v1/keys", "/v1/keys?query=made", "/v1/plan", "/v1/collections", f"{path}/documents",
        f"{path}/documents?query=words", f"{path}/documents/one", "/v1/events", "/v1/whoami",
        "/v1/webhooks",
    ]  # fmt: skip
    assert caller.get(f"{path}/documents?query=quiet").json()["items"] == []
    api.services.usage.flush()
    alone = [caller.get(place).content for place in places]
    neighbour = neighbour_of(api)
    assert [caller.get(place).content for place in places] == alone
    assert caller.get(f"{path}/documents?query=quiet").json()["items"] == []
    for place in places:
        text = caller.get(place).text
        assert not [id for id in (*neighbour.keys, neighbour.tenant.id, "theirs") if id in text]


@pytest.mark.slow_on("postgresql")
def test_names_and_idempotency_keys_of_a_neighbour_are_free(api: ApiInstallation) -> None:
    """Names are unique within a workspace: the same names work in both, and reveal nothing."""
    neighbour = neighbour_of(api)
    caller = api.tenant().client()
    before = neighbour.rows()
    for name in neighbour.collections:
        assert caller.post("/v1/collections", {"name": name}).status_code == 201
    body, once = {"description": "once"}, [("idempotency-key", "theirs")]
    response = caller.post("/v1/keys", body, once)
    assert response.json()["token"]
    push = {"upsert": [{"id": "one", "text": "x"}], "delete": ["two"]}
    pushed = caller.post("/v1/collections/theirs/documents/batch", push).json()
    assert (pushed["created"], pushed["deleted"]) == (1, 0)
    assert neighbour.rows() == before
