"""The people of a workspace for the product's backend: by its own ids, in any role, removed with their sessions."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import pytest

from keystead.domain.credentials import ActingCredential
from keystead.domain.portal import PortalRequest, PortalUser
from keystead.domain.workspaces import Role
from tests.support.api_client import ApiClient, ApiInstallation, Tenant, pointers, problem
from tests.support.backends import BY, PATH, backend, events_of, shown, successful

ADA: Final = {"name": "Ada", "email": "ada@example.com", "role": "developer"}
NEVER: Final = "usr_02tcRIyrxLXTR81B3dqdOx"


@pytest.fixture
def operator(api: ApiInstallation) -> ApiClient:
    """The product's backend, with an active credential."""
    return backend(api)


def members_of(tenant: Tenant) -> str:
    """Return the path of a workspace's members."""
    return f"{PATH}/{tenant.id}/members"


def put(
    operator: ApiClient, tenant: Tenant, id: str, status: int = 201, **body: Any
) -> dict[str, Any]:
    """Put a user of the product."""
    path = f"{members_of(tenant)}/by-external-id/{quote(id, safe='')}"
    return successful(operator.put(path, ADA | body), status)


def test_a_user_is_put_and_put_again(
    api: ApiInstallation, operator: ApiClient, tenant: Tenant
) -> None:
    """201, then 200; name, email and role become what was sent, and each change is one event of the operator's."""
    added = put(operator, tenant, "u1")
    assert added.pop("joined_at") is not None
    assert added == {"id": added["id"], "external_id": "u1", **ADA}
    path = f"{members_of(tenant)}/by-external-id/u1"
    first = operator.put(path, ADA)
    assert successful(first)["id"] == added["id"]
    second = operator.put(path, {"name": "Ada L.", "role": "developer"})
    assert successful(second) | {"joined_at": ""} == added | {
        "name": "Ada L.", "email": None, "joined_at": "",
    }  # fmt: skip
    assert first.headers["etag"] != second.headers["etag"]
    assert put(operator, tenant, "u1", 200, role="owner")["role"] == "owner"
    events = [event for event in events_of(api, tenant.id) if event.target.id == added["id"]]
    assert [str(event.type) for event in events] == ["member.role_changed", "member.added"]
    assert events[0].data == {"name": "Ada", "from": "developer", "to": "owner"}
    assert {event.actor.kind for event in events} == {"operator"}


def test_a_portal_session_is_of_the_same_user(
    api: ApiInstallation, operator: ApiClient, tenant: Tenant
) -> None:
    """A portal session and a put with one id mean one user of a workspace, and another user of the next workspace."""
    user = {"id": "shared/1", "name": "Ada"}
    session = {"workspace_id": tenant.id, "user": user, "role": "viewer"}
    successful(operator.post("/operator/v1/portal-sessions", session), 201)
    [listed] = successful(operator.get(members_of(tenant)))["items"]
    assert (listed["external_id"], listed["email"]) == ("shared/1", None)
    assert put(operator, tenant, "shared/1", 200)["id"] == listed["id"]
    assert put(operator, api.tenant(), "shared/1")["id"] != listed["id"]


def test_a_role_is_changed(operator: ApiClient, tenant: Tenant) -> None:
    """PATCH sets any role, owner too; a repeated one changes nothing; a version protects it."""
    member = put(operator, tenant, "u1")
    path = f"{members_of(tenant)}/{member['id']}"
    changed = operator.patch(path, {"role": "owner"})
    assert successful(changed)["role"] == "owner"
    assert successful(operator.patch(path, {"role": "owner"}))["role"] == "owner"
    assert successful(operator.patch(path, {}))["role"] == "owner"
    assert successful(operator.patch(path, {"role": "viewer"}))["role"] == "viewer"
    late = [("if-match", changed.headers["etag"])]
    for method, body in (("PATCH", {"role": "admin"}), ("DELETE", None)):
        assert problem(operator.send(method, path, body, late)) == (412, "changed-meanwhile")
    put_again = operator.send("PUT", f"{members_of(tenant)}/by-external-id/u1", ADA, late)
    assert problem(put_again) == (412, "changed-meanwhile")


def test_the_last_owner_can_be_removed(api: ApiInstallation, operator: ApiClient) -> None:
    """A person with an account too: the product decides who owns its customers' workspaces."""
    email = "ann.last@example.com"
    created = api.services.workspaces.create("Acme", owner="Ann", email=email)
    tenant = Tenant(api, created.id)
    [owner] = successful(operator.get(members_of(tenant)))["items"]
    assert (owner["external_id"], owner["email"], owner["role"]) == (None, email, "owner")
    path = f"{members_of(tenant)}/{owner['id']}"
    assert successful(operator.patch(path, {"role": "admin"}))["role"] == "admin"
    assert operator.delete(path).status_code == 204
    assert successful(operator.get(members_of(tenant)))["items"] == []
    assert problem(operator.delete(path)) == (404, "not-found")


def test_a_removed_user_is_out_at_once(
    api: ApiInstallation, operator: ApiClient, tenant: Tenant
) -> None:
    """The open session and the unused link end with the membership, and don't come back with a new one."""
    services = api.services
    member = put(operator, tenant, "u1")
    request = PortalRequest(tenant.id, PortalUser("u1", "Ada"), Role.VIEWER)
    acting = services.credentials.create("portal", BY)[0]

    product = ActingCredential(acting.id, acting.kind, acting.name)
    signed_in = services.sign_in.redeem(services.portal_sessions.create(product, request)[0])
    unused, _ = services.portal_sessions.create(product, request)
    assert services.sign_in.visitor(signed_in.secret) is not None
    assert operator.delete(f"{members_of(tenant)}/{member['id']}").status_code == 204
    assert services.sign_in.visitor(signed_in.secret) is None
    api.clock.advance(seconds=1)
    assert put(operator, tenant, "u1")["id"] == member["id"]
    assert services.sign_in.visitor(signed_in.secret) is None
    with pytest.raises(Exception, match="never was"):
        services.sign_in.redeem(unused)
    again = services.sign_in.redeem(services.portal_sessions.create(product, request)[0])
    assert services.sign_in.visitor(again.secret) is not None


def test_keys_of_a_removed_user_stay(operator: ApiClient, tenant: Tenant) -> None:
    """Keys belong to the workspace: they keep working, and are listed as before."""
    client = tenant.client()
    member = put(operator, tenant, "u1")
    assert operator.delete(f"{members_of(tenant)}/{member['id']}").status_code == 204
    assert client.get("/v1/whoami").status_code == 200


def test_members_are_listed_in_pages(
    api: ApiInstallation, operator: ApiClient, tenant: Tenant
) -> None:
    """Newest first, each once."""
    ids = []
    for number in range(5):
        api.clock.advance(seconds=1)
        ids.append(put(operator, tenant, f"u{number}")["id"])
    seen: list[str] = []
    cursor = ""
    while True:
        page = successful(operator.get(f"{members_of(tenant)}?limit=2{cursor}"))
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ids[::-1]
    elsewhere = f"{members_of(api.tenant())}?limit=2{cursor}"
    assert problem(operator.get(elsewhere)) == (422, "invalid-cursor")


def test_a_limit_of_members_binds_the_operator_too(
    api: ApiInstallation, operator: ApiClient
) -> None:
    """409 for one more; an existing one can still be put."""
    tenant = api.tenant("free")
    for number in range(3):
        put(operator, tenant, f"u{number}")
    refused = operator.put(f"{members_of(tenant)}/by-external-id/u3", ADA)
    assert problem(refused) == (409, "limit-reached")
    put(operator, tenant, "u0", 200, role="owner")


@pytest.mark.parametrize(
    "id", ["auth0|ada", "a/b", "a/b/c", "plan", "ä ö", "%2F", "a+b@example.com", "x" * 200]
)
def test_any_line_is_an_id(sqlite_api: ApiInstallation, id: str) -> None:
    """Percent-encoded in the path, a slash too."""
    operator, tenant = backend(sqlite_api), sqlite_api.tenant()
    assert put(operator, tenant, id)["external_id"] == id
    assert put(operator, tenant, id, 200)["external_id"] == id


@pytest.mark.parametrize(
    ("id", "body", "expected"),
    [
        ("u1", {"name": "Ada"}, ["/role"]),
        ("u1", ADA | {"role": "boss"}, ["/role"]),
        ("u1", ADA | {"role": None}, ["/role"]),
        ("u1", ADA | {"name": ""}, ["/name"]),
        ("u1", ADA | {"email": "nobody"}, ["/email"]),
        ("u1", ADA | {"id": "u2"}, ["/id"]),
        ("x" * 201, ADA, ["/id"]),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(
    sqlite_api: ApiInstallation, id: str, body: Any, expected: list[str]
) -> None:
    """422 with the pointer of the value, and no member is added."""
    operator, tenant = backend(sqlite_api), sqlite_api.tenant()
    assert pointers(operator.put(f"{members_of(tenant)}/by-external-id/{id}", body)) == expected
    assert successful(operator.get(members_of(tenant)))["items"] == []


def test_members_of_another_workspace_are_as_if_they_never_existed(
    api: ApiInstallation, operator: ApiClient
) -> None:
    """A user's id below the wrong workspace: byte for byte as one that never existed, and no effect."""
    own, neighbor = api.tenant(), api.tenant()
    theirs = put(operator, neighbor, "u1")
    for method, body in (("PATCH", {"role": "owner"}), ("DELETE", None), ("PATCH", {"x": 1})):
        answers = [
            operator.send(method, f"{members_of(own)}/{id}", body)
            for id in (theirs["id"], NEVER, "none")
        ]
        assert problem(answers[0]) == (404, "not-found")
        assert shown(answers[0]) == shown(answers[1]) == shown(answers[2])
    assert successful(operator.get(members_of(neighbor)))["items"] == [theirs]


def test_a_workspace_that_is_not_there_has_no_members(operator: ApiClient, tenant: Tenant) -> None:
    """404 for every call, also for a list, and before any error in the values."""
    member = put(operator, tenant, "u1")
    for id in ("ws_02tcRIyrxLXTR81B3dqdOx", "none", member["id"]):
        for method, tail, body in (
            ("GET", "", None),
            ("PUT", "/by-external-id/u1", ADA),
            ("PUT", "/by-external-id/u1", {}),
            ("PATCH", f"/{member['id']}", {"role": "owner"}),
            ("DELETE", f"/{member['id']}", None),
        ):
            answer = operator.send(method, f"{PATH}/{id}/members{tail}", body)
            assert problem(answer) == (404, "not-found"), (method, tail, body)
