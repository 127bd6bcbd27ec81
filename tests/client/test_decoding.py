"""Decoding: JSON as the results of the SDK, and a clear error for any other shape."""

from __future__ import annotations

from types import NoneType
from typing import Any

import pytest

from keystead.client import Key, Page, PlanWithLimits, Quota, Token, Whoami
from keystead.client.decoding import InvalidAnswer, decode
from keystead.client.results import CreatedKey, Introspection, KeyPage
from tests.support.stub_server import TOKEN

KEY: dict[str, Any] = {
    "id": "key_1",
    "description": "d",
    "hint": "ks_…abcd",
    "scopes": ["documents:read"],
    "status": "active",
    "created_at": "2026-01-01T00:00:00Z",
    "created_by": {"type": "member", "id": "mem_1", "name": "Ann"},
    "expires_at": None,
    "last_used_at": None,
    "last_used_ip": None,
    "last_used_agent": None,
    "revoked_at": None,
    "rotated_to": None,
    "networks": ["203.0.113.0/24"],
    "metadata": {"customer": "42"},
    "renewal": {"until": "2030-01-01T00:00:00Z"},
}


def test_members_that_a_newer_server_adds_are_ignored() -> None:
    """An unknown member changes nothing, at any depth."""
    newer = KEY | {"color": "red", "created_by": KEY["created_by"] | {"shoe": 44}}
    assert decode(Key, newer) == decode(Key, KEY)


def test_a_member_that_an_older_server_lacks_takes_its_default() -> None:
    """Only fields with a default may be missing."""
    plan = decode(PlanWithLimits, {"id": "free", "name": "Free", "limits": {"api_keys": 5}})
    assert plan.rate_limits == {}
    with pytest.raises(InvalidAnswer, match=r"^limits is missing$"):
        decode(PlanWithLimits, {"id": "free", "name": "Free"})


def test_pages_are_decoded_by_their_items() -> None:
    """A generic page has its argument's items; a page of keys has a quota too."""
    payload = {"items": [KEY], "next_cursor": "c", "quota": {"limit": None, "used": 1}}
    page = decode(Page[Key], payload)
    assert (type(page), page.items, page.next_cursor) == (Page, [decode(Key, KEY)], "c")
    keys = decode(KeyPage, payload)
    assert (type(keys), keys.items, keys.quota) == (KeyPage, page.items, Quota(None, 1))


@pytest.mark.parametrize(
    ("kind", "payload", "message"),
    [
        (Key, None, "the response is not an object"),
        (Key, [KEY], "the response is not an object"),
        (Key, {}, "id is missing"),
        (Key, KEY | {"id": 7}, "id is not a text"),
        (Key, KEY | {"scopes": "documents:read"}, "scopes is not a list"),
        (Key, KEY | {"scopes": ["a:b", None]}, "scopes[1] is not a text"),
        (Key, KEY | {"created_at": "yesterday"}, "created_at is not a time"),
        (Key, KEY | {"expires_at": 5}, "expires_at is not a time"),
        (Key, KEY | {"created_by": {"type": "key"}}, "created_by.id is missing"),
        (Whoami, {"workspace": {}, "key": KEY}, "workspace.id is missing"),
        (Page[Key], {"items": [KEY, 5], "next_cursor": None}, "items[1] is not an object"),
        (Quota, {"limit": True, "used": 1}, "limit is not an integer"),
        (Quota, {"limit": None, "used": 1.5}, "used is not an integer"),
        (Quota, {"limit": None, "used": float("inf")}, "used is not an integer"),
        (PlanWithLimits, {"id": "a", "name": "A", "limits": {"n": "5"}}, "limits.n is not an"),
        (CreatedKey, KEY, "token is missing"),
        (CreatedKey, KEY | {"token": TOKEN[:-1]}, "token is not a token"),
        (Introspection, {}, "active is missing"),
        (Introspection, {"active": True}, "scope is not a text"),
    ],
)
def test_another_shape_is_named_by_its_path(kind: type, payload: object, message: str) -> None:
    """The error names the place and the expected type, and shows no value."""
    with pytest.raises(InvalidAnswer) as refused:
        decode(kind, payload)
    assert message in str(refused.value)
    assert TOKEN[:-1] not in str(refused.value)


def test_only_a_plain_true_is_active() -> None:
    """An introspection response that is not exactly `true` admits no caller."""
    for value in ("true", 1, None, False):
        assert decode(Introspection, {"active": value}) == Introspection(active=False)
    active = {
        "active": True,
        "scope": "documents:read events:read",
        "client_id": "key_1",
        "workspace": {"id": "ws_1", "name": "Acme", "plan": "team"},
        "exp": 4102444800,
    }
    result = decode(Introspection, active)
    assert result.scopes == ("documents:read", "events:read")
    assert (result.issued_at, result.expires_at and result.expires_at.year) == (None, 2100)
    for seconds in (10**20, float("nan"), "soon"):
        with pytest.raises(InvalidAnswer, match="exp is not"):
            decode(Introspection, active | {"exp": seconds})


def test_a_token_is_a_token() -> None:
    """The token of a created key is redacted from the first moment."""
    created = decode(CreatedKey, KEY | {"token": TOKEN})
    assert isinstance(created.token, Token)
    assert created.token.reveal() == TOKEN
    assert TOKEN not in repr(created)


def test_no_result_takes_any_body() -> None:
    """A call without a result ignores what the server sends."""
    assert decode(NoneType, None) is decode(NoneType, {"any": 1}) is None
