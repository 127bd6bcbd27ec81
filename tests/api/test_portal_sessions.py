"""Portal sessions: who may create one, which requests are refused, and a link that works once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from keystead.domain.errors import Invalid
from keystead.domain.instants import format_instant
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.token import Secret
from keystead.domain.workspaces import Role
from tests.support.api_client import BASE, ApiClient, ApiInstallation, Tenant, open_api, problem
from tests.support.installations import ENGINES, fresh_url

PATH = "/operator/v1/portal-sessions"
ORIGIN = "https://app.example.com"
BY = Actor(PrincipalKind.OPERATOR, "tests", "tests")


@pytest.fixture(scope="module", params=ENGINES)
def api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiInstallation]:
    """An installation on each engine that allows one origin for return URLs."""
    with (
        fresh_url(request, tmp_path_factory, request.param) as url,
        open_api(url, portal_origins=[ORIGIN]) as api,
    ):
        yield api


@pytest.fixture(scope="module")
def operator(api: ApiInstallation) -> ApiClient:
    """The product's backend, with an active credential."""
    _, token = api.services.credentials.create("backend", BY)
    return api.client(token.reveal())


def body(tenant: Tenant, **more: Any) -> dict[str, Any]:
    """Return a valid request body."""
    user = {"id": "user-4711", "name": "Ada", "email": "ada@example.com"}
    return {"workspace_id": tenant.id, "user": user, "role": "developer"} | more


def secret_of(url: str) -> Secret:
    """Return the secret in the link."""
    assert url.startswith(f"{BASE}/sign-in?link=")
    (link,) = parse_qs(urlsplit(url).query)["link"]
    return Secret(link)


def test_a_portal_session_signs_in_once(api: ApiInstallation, operator: ApiClient) -> None:
    """201 with a link for five minutes; it makes the user a member in that role, and works once."""
    tenant = api.tenant()
    answer = operator.post(PATH, body(tenant, return_url=f"{ORIGIN}/settings"))
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    created = answer.json()
    assert set(created) == {"url", "expires_at"}
    assert created["expires_at"] == format_instant(api.clock.now() + timedelta(minutes=5))
    signed_in = api.services.sign_in.redeem(secret_of(created["url"]))
    assert (signed_in.member.user.name, signed_in.member.role) == ("Ada", Role.DEVELOPER)
    assert signed_in.member.workspace_id == tenant.id
    with pytest.raises(Invalid):
        api.services.sign_in.redeem(secret_of(created["url"]))


def test_a_user_is_known_again(api: ApiInstallation, operator: ApiClient) -> None:
    """The same ID in the same workspace is the same user, with the latest call's name and role."""
    tenant = api.tenant()
    people = []
    for name, role in (("Ada", "developer"), ("Ada L.", "viewer")):
        sent = body(tenant, user={"id": "u1", "name": name}, role=role)
        url = operator.post(PATH, sent).json()["url"]
        people.append(api.services.sign_in.redeem(secret_of(url)).member)
    assert people[0].user.id == people[1].user.id
    assert (people[1].user.name, people[1].role) == ("Ada L.", Role.VIEWER)


def test_other_credentials_are_refused(api: ApiInstallation, operator: ApiClient) -> None:
    """No credential, a workspace's key of any scope, a revoked credential, garbage: 401, and nothing is created."""
    tenant = api.tenant()
    ended, token = api.services.credentials.create("old", BY)
    api.services.credentials.revoke(ended.id, BY)
    assert problem(api.client().post(PATH, body(tenant))) == (401, "unauthenticated")
    keys = (tenant.client(), api.client(token.reveal()), api.client("ks_op_nonsense"))
    for client in keys:
        answer = client.post(PATH, body(tenant))
        assert problem(answer) == (401, "invalid-token")
        assert answer.headers["www-authenticate"].startswith('Bearer realm="keystead"')
        assert problem(client.post(PATH, {"nonsense": 1})) == (401, "invalid-token")
    assert tenant.event_types() == ["key.created", "workspace.created"]


def test_an_operators_token_is_not_a_key(api: ApiInstallation, operator: ApiClient) -> None:
    """The credential that works here works on no call of a workspace."""
    for path in ("/v1/whoami", "/v1/keys", "/v1/collections"):
        assert problem(operator.get(path)) == (401, "invalid-token")


@pytest.mark.parametrize("api", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"role": "owner"}, "/role"),
        ({"role": None}, "/role"),
        ({"user": {"id": "", "name": "Ada"}}, "/user/id"),
        ({"user": {"id": "u1"}}, "/user/name"),
        ({"user": {"id": "u1", "name": "A\nda"}}, "/user/name"),
        ({"user": {"id": "u1", "name": "Ada", "email": "nobody"}}, "/user/email"),
        ({"return_url": "https://evil.example/"}, "/return_url"),
        ({"return_url": f"{ORIGIN}.evil.example/"}, "/return_url"),
        ({"return_url": f"{ORIGIN}@evil.example/"}, "/return_url"),
        ({"return_url": "http://app.example.com/"}, "/return_url"),
        ({"return_url": "javascript:alert(1)"}, "/return_url"),
        ({"return_url": "/settings"}, "/return_url"),
        ({"lifetime": 3600}, "/lifetime"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(
    api: ApiInstallation, operator: ApiClient, change: dict[str, Any], pointer: str
) -> None:
    """422 with the pointer of the refused value; owners are never created, and users never sent to a foreign origin."""
    tenant = api.tenant()
    answer = operator.post(PATH, body(tenant, **change))
    assert problem(answer) == (422, "invalid")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert tenant.event_types() == ["workspace.created"]


def test_an_unknown_workspace_is_not_there(api: ApiInstallation, operator: ApiClient) -> None:
    """404 for a workspace that never existed."""
    sent = body(api.tenant(), workspace_id="ws_0000000000000000000000")
    assert problem(operator.post(PATH, sent)) == (404, "not-found")


def test_the_limit_of_members_holds(api: ApiInstallation, operator: ApiClient) -> None:
    """A product cannot sign in more people than the plan of their workspace has members."""
    tenant = api.tenant("free")
    for number in range(3):
        user = {"id": f"u{number}", "name": "Ada"}
        assert operator.post(PATH, body(tenant, user=user)).status_code == 201
    answer = operator.post(PATH, body(tenant, user={"id": "u3", "name": "Ada"}))
    assert problem(answer) == (409, "limit-reached")
    again = operator.post(PATH, body(tenant, user={"id": "u0", "name": "Ada"}))
    assert again.status_code == 201


def test_other_methods_are_refused(operator: ApiClient) -> None:
    """Sessions can be created, but neither listed nor read."""
    for method in ("GET", "PUT", "DELETE"):
        assert problem(operator.send(method, PATH)) == (405, "method-not-allowed")
