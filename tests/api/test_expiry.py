"""Expiry as it is sent: refused clearly, or the exact instant; never a key without the end that was sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keystead.domain.instants import format_instant
from tests.support.api_client import Tenant, pointers

EXACT = {
    "2030-01-31T12:00:00Z": "2030-01-31T12:00:00Z",
    "2030-01-31t12:00:00z": "2030-01-31T12:00:00Z",
    "2030-01-31T12:00:00.000000Z": "2030-01-31T12:00:00Z",
    "2030-01-31T12:00:00+05:30": "2030-01-31T06:30:00Z",
    "2030-01-31T12:00:00-00:00": "2030-01-31T12:00:00Z",
    "2030-01-01T00:00:00+23:59": "2029-12-31T00:01:00Z",
    "2028-02-29T00:00:00Z": "2028-02-29T00:00:00Z",
    "9999-12-31T23:59:59Z": "9999-12-31T23:59:59Z",
    "2030-01-31T12:00:00.5Z": "2030-01-31T12:00:00Z",
    "2030-01-31T12:00:00.123Z": "2030-01-31T12:00:00Z",
    "2030-01-31T12:00:00.999999Z": "2030-01-31T12:00:00Z",
    "2030-01-31T12:00:00.999999999Z": "2030-01-31T12:00:00Z",
    "2030-01-31T12:00:00.0000000+01:00": "2030-01-31T11:00:00Z",
}
REFUSED = [
    "2030-01-31T12:00:00",
    "2030-01-31",
    "2030-01-31 12:00:00Z",
    "2030-01-31T12:00Z",
    "2030-01-31T12:00:00.Z",
    "2030-01-31T12:00:00.1234567890Z",
    "2030-02-29T00:00:00Z",
    "2030-02-30T00:00:00Z",
    "2030-13-01T00:00:00Z",
    "2030-00-01T00:00:00Z",
    "2030-01-31T24:00:00Z",
    "2030-01-31T12:00:60Z",
    "2016-12-31T23:59:60Z",
    "10000-01-01T00:00:00Z",
    "+10000-01-01T00:00:00Z",
    "9999-12-31T23:59:59-00:01",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "-2030-01-31T12:00:00Z",
    "2030-01-31T12:00:00+24:00",
    "2030-01-31T12:00:00+0530",
    "2030-01-31T12:00:00Z ",
    "2030-01-31T12:00:00Z\n",
    "2030-01-31T12:00:00 Europe/Paris",
    "2030-W05-4T12:00:00Z",
    "٢٠٣٠-01-31T12:00:00Z",
    "1999-01-01T00:00:00Z",
    "tomorrow",
    "never",
    "null",
    "",
    "1900000000",
    1_900_000_000,
    1.9e9,
    -1,
    0,
    True,
    False,
    ["2030-01-31T12:00:00Z"],
    {"at": "2030-01-31T12:00:00Z"},
]


@pytest.mark.parametrize("sent", EXACT)
def test_an_end_is_that_very_second(quick: Tenant, sent: str) -> None:
    """Created, changed or rotated: the key ends at the second that was written, in UTC; fractions are cut off."""
    client = quick.client()
    made = client.create_key(expires_at=sent)
    assert made["expires_at"] == EXACT[sent]
    plain = client.create_key()
    changed = client.patch(f"/v1/keys/{plain['id']}", {"expires_at": sent}).json()
    rotated = client.post(f"/v1/keys/{plain['id']}/rotate", {"expires_at": sent}).json()
    assert changed["expires_at"] == rotated["expires_at"] == EXACT[sent]


@pytest.mark.parametrize("sent", REFUSED, ids=repr)
def test_what_is_no_future_instant_is_refused(quick: Tenant, sent: Any) -> None:
    """422 at `/expires_at`, with no key made, none changed, none rotated."""
    client = quick.client()
    key = client.create_key(expires_at="2031-01-01T00:00:00Z")
    before = client.get("/v1/keys").json()
    for answer in (
        client.post("/v1/keys", {"description": "x", "expires_at": sent}),
        client.patch(f"/v1/keys/{key['id']}", {"expires_at": sent}),
        client.post(f"/v1/keys/{key['id']}/rotate", {"expires_at": sent}),
    ):
        assert set(pointers(answer)) == {"/expires_at"}
        assert answer.json()["errors"][0]["detail"]
    assert client.get("/v1/keys").json() == before


@pytest.mark.parametrize("sent", ["NaN", "Infinity", "-Infinity", "01", "2030-01-31T12:00:00Z"])
def test_what_is_no_json_makes_no_key(quick: Tenant, sent: str) -> None:
    """NaN and its like, and a time without quotes, are 400: the body is not JSON."""
    client = quick.client()
    body = f'{{"description": "x", "expires_at": {sent}}}'.encode()
    assert client.post("/v1/keys", body).status_code == 400
    assert len(client.get("/v1/keys").json()["items"]) == 1


def test_an_end_that_is_sent_twice_makes_no_key(quick: Tenant) -> None:
    """A name that stands twice could mean either value: 422."""
    client = quick.client()
    ends = '"expires_at": "2030-01-31T12:00:00Z", "expires_at": null'
    answer = client.post("/v1/keys", f'{{"description": "x", {ends}}}'.encode())
    assert pointers(answer) == ["/expires_at"]
    assert len(client.get("/v1/keys").json()["items"]) == 1


def test_now_is_past(quick: Tenant) -> None:
    """An end must be later than now: the present second is refused, the next one is taken."""
    client = quick.client()
    now = quick.api.clock.now()
    for past in (now, now + timedelta(microseconds=999_999)):
        refused = client.post("/v1/keys", {"description": "x", "expires_at": format_instant(past)})
        assert pointers(refused) == ["/expires_at"]
    soon = format_instant(now + timedelta(seconds=1))
    assert client.create_key(expires_at=soon)["expires_at"] == soon


def test_null_is_for_ever_and_only_null(quick: Tenant) -> None:
    """A key that never ends is made by saying so; a misspelled name is no way to one."""
    client = quick.client()
    assert client.create_key(expires_at=None)["expires_at"] is None
    for name in ("expiresAt", "expires", "expires_in", "Expires_at", "expires_at "):
        body = {"description": "x", name: "2030-01-31T12:00:00Z"}
        assert pointers(client.post("/v1/keys", body)) == [f"/{name}"]
