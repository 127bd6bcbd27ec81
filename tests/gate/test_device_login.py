"""Signing in at a terminal (RFC 8628): paced, for ten minutes, once; a person decides, and the poll creates the key."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import select

from keystead.bootstrap import open_installation
from keystead.domain.device_logins import (
    GRANT_TYPE,
    INTERVAL,
    LIFETIME,
    MAX_PENDING,
    MAX_PENDING_OF_ADDRESS,
    DeviceRequest,
    user_code_digest,
)
from keystead.domain.errors import (
    AgainstPolicy,
    Forbidden,
    Invalid,
    LimitReached,
    RateLimited,
    ReauthenticationRequired,
)
from keystead.domain.events import Origin
from keystead.domain.keys import KeyDraft
from keystead.domain.policies import Policy
from keystead.domain.scopes import DOCUMENTS_READ, EVERYTHING
from keystead.domain.sessions import REAUTHENTICATION_AGE
from keystead.domain.workspaces import Member, Role
from keystead.services import device_logins
from keystead.settings import Settings
from keystead.storage.schema.device_login_tables import device_logins as table
from tests.support.administrator import read_behind, write_behind
from tests.support.asgi import HOST, Response, scope_of
from tests.support.clocks import NOON
from tests.support.gate import GateApplication, bearer, gate_of
from tests.support.installations import PEPPERS, SandboxInstallation, read_only
from tests.support.people import People, acting, acting_operator

AUTHORIZE: Final = "/oauth/device_authorization"
TOKEN: Final = "/oauth/token"
CLIENT: Final = ("client_id", "keystead-cli")
NARROW: Final = KeyDraft("laptop", NOON + timedelta(days=30), (DOCUMENTS_READ,))
ORIGIN: Final = Origin("198.51.100.7", "req_approval")


def parsed(response: Response) -> dict[str, Any]:
    """Return the members of a JSON response, which no cache may store."""
    assert response.header("content-type") == "application/json"
    assert response.header("cache-control") == "no-store"
    members: dict[str, Any] = json.loads(response.body)
    return members


def start(gate: GateApplication, *fields: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Begin a sign-in from an address of its own, unless `client` is given."""
    response = gate.post(AUTHORIZE, [CLIENT, *fields], **more)
    assert response.status == 200, response.body
    return parsed(response)


def poll(gate: GateApplication, device_code: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the members of the answer to a poll."""
    form = [CLIENT, ("grant_type", GRANT_TYPE), ("device_code", device_code)]
    response = gate.post(TOKEN, form)
    return response.status, parsed(response)


def error(gate: GateApplication, device_code: str) -> str:
    """Return the error of a poll that gets no token."""
    status, members = poll(gate, device_code)
    assert status == 400
    assert set(members) == {"error", "error_description"}
    return str(members["error"])


@pytest.fixture
def people(sandbox: SandboxInstallation) -> People:
    """People, and no sign-ins from terminals that other tests left."""
    with write_behind(sandbox.database) as tx:
        tx.execute(table.delete())
    return People(sandbox)


def set_policy(people: People, owner: Member, policy: Policy) -> None:
    """Set the owner's layer of the workspace's policy."""
    people.sandbox.services.policies.replace_owners(acting(owner), policy, ORIGIN)


def approve(people: People, member: Member, code: str, draft: KeyDraft = NARROW) -> None:
    """Approve as a member who signed in just now."""
    principal = acting(member, people.clock.now())
    people.sandbox.services.device_logins.approve(principal, code, draft, ORIGIN)


# --- the whole way ---


def test_a_terminal_gets_the_key_that_a_person_approved(
    gate: GateApplication, people: People
) -> None:
    """Two codes, pending, approved, then once a token of exactly the approved key; its event has both addresses."""
    ada = people.owner()
    started = start(gate, ("scope", "documents:write"), ("description", "mine"), ("host", "box"))
    assert re.fullmatch(r"[B-DF-HJ-NP-TV-Z]{4}-[0-9]{4}", started["user_code"])
    assert started["verification_uri"].endswith("/device")
    complete = f"{started['verification_uri']}?user_code={started['user_code']}"
    assert started["verification_uri_complete"] == complete
    assert (started["expires_in"], started["interval"]) == (600, 5)
    assert error(gate, started["device_code"]) == "authorization_pending"
    approve(people, ada, started["user_code"])
    people.clock.advance(INTERVAL)
    status, members = poll(gate, started["device_code"])
    assert (status, members["token_type"], members["scope"]) == (200, "Bearer", "documents:read")
    assert members["expires_in"] == int((NARROW.expires_at - people.clock.now()).total_seconds())  # type: ignore[operator]
    assert gate.ask("/documents:read", members["access_token"]).status == 200
    assert gate.ask("/documents:write", members["access_token"]).status == 403
    [event] = people.events(ada.workspace_id, "key.created")
    assert (event.actor.id, event.data["approved_from"]) == (ada.user.id, ORIGIN.address)
    assert event.origin.address == "127.0.0.1"
    assert error(gate, started["device_code"]) == "expired_token"


def test_a_key_that_never_expires_has_no_expires_in(gate: GateApplication, people: People) -> None:
    """`expires_in` is absent where the key never expires."""
    started = start(gate)
    approve(people, people.owner(), started["user_code"], KeyDraft("ever", None, (DOCUMENTS_READ,)))
    assert "expires_in" not in poll(gate, started["device_code"])[1]


def test_only_digests_of_both_codes_are_stored(gate: GateApplication, people: People) -> None:
    """No value of the row contains a code, and an approved request contains no token (R5)."""
    started = start(gate)
    approve(people, people.owner(), started["user_code"])
    with read_behind(people.sandbox.database) as tx:
        [row] = tx.execute(select(table)).all()
    stored = repr(tuple(row)).upper()
    for code in (started["device_code"], started["user_code"], started["user_code"][:4]):
        assert code.upper() not in stored
    assert not people.sandbox.keys(acting_operator(row.workspace_id))


# --- pacing and time ---


def test_polls_are_paced(gate: GateApplication, people: People) -> None:
    """A second poll within the interval is `slow_down`, and doesn't count as the last one."""
    code = start(gate)["device_code"]
    assert error(gate, code) == "authorization_pending"
    assert error(gate, code) == "slow_down"
    people.clock.advance(timedelta(seconds=4))
    assert error(gate, code) == "slow_down"
    people.clock.advance(timedelta(seconds=1))
    assert error(gate, code) == "authorization_pending"


def test_polls_that_come_too_soon_write_nothing(gate: GateApplication, people: People) -> None:
    """A flood of polls costs reads: even a database that refuses writes answers it."""
    code = start(gate)["device_code"]
    assert error(gate, code) == "authorization_pending"
    with read_only(people.sandbox.database):
        assert [error(gate, code) for _ in range(3)] == ["slow_down"] * 3
        people.clock.advance(INTERVAL)
        assert poll(gate, code)[0] == 503


@pytest.mark.parametrize("approved", [False, True])
def test_codes_expire(gate: GateApplication, people: People, approved: bool) -> None:
    """After ten minutes both codes are dead, approved or not; then nothing of them is stored."""
    started, ada = start(gate), people.owner()
    if approved:
        approve(people, ada, started["user_code"])
    people.clock.advance(LIFETIME)
    assert error(gate, started["device_code"]) == "expired_token"
    with pytest.raises(Invalid):
        approve(people, ada, started["user_code"])
    people.sandbox.services.device_logins.purge()
    assert people.sandbox.count(table) == 0


def test_unknown_codes_look_expired(gate: GateApplication, people: People) -> None:
    """A code that never existed gets the bytes of one that has expired."""
    started = start(gate)
    people.clock.advance(LIFETIME)
    assert poll(gate, started["device_code"]) == poll(gate, "never-a-code")


def test_an_address_has_ten_pending(gate: GateApplication, people: People) -> None:
    """The eleventh request of an address is 429; another address is served; a denied and collected one makes room."""
    codes = [start(gate) for _ in range(MAX_PENDING_OF_ADDRESS)]
    response = gate.post(AUTHORIZE, [CLIENT])
    assert response.status == 429
    assert parsed(response)["error"] == "temporarily_unavailable"
    assert int(response.header("retry-after") or 0) > 0
    start(gate, client=("192.0.2.8", 4711))
    logins = people.sandbox.services.device_logins
    logins.deny(codes[0]["user_code"], people.owner().user.id, ORIGIN)
    assert error(gate, codes[0]["device_code"]) == "access_denied"
    start(gate)


def test_the_limit_of_an_address_holds_at_once(
    own_sandbox: SandboxInstallation,
) -> None:
    """Of thirty concurrent requests of one address on two servers, ten are served."""
    servers = [own_sandbox.services, own_sandbox.another().services]

    def begin(number: int) -> bool:
        try:
            servers[number % 2].device_logins.start(DeviceRequest(), ORIGIN)
        except RateLimited:
            return False
        return True

    with ThreadPoolExecutor(10) as threads:
        served = sum(threads.map(begin, range(30)))
    assert served == MAX_PENDING_OF_ADDRESS == own_sandbox.count(table)


def test_the_installation_has_a_limit(
    people: People, gate: GateApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit of all addresses together no request is taken; what has expired makes room."""
    assert MAX_PENDING == 10_000
    monkeypatch.setattr(device_logins, "MAX_PENDING", 2)
    start(gate)
    start(gate, client=("192.0.2.8", 4711))
    assert gate.post(AUTHORIZE, [CLIENT], client=("192.0.2.9", 1)).status == 429
    people.clock.advance(LIFETIME)
    start(gate, client=("192.0.2.9", 1))
    assert people.sandbox.count(table) == 1


def test_wrong_codes_are_paced_by_person_and_address(people: People, gate: GateApplication) -> None:
    """After five wrong codes a person waits at any address, an address for any person; right ones cost nothing."""
    logins, ada, bo = people.sandbox.services.device_logins, people.owner(), people.owner("Bo")
    right = start(gate)["user_code"]
    for _ in range(20):
        logins.look_up(right, ada.user.id, ORIGIN)
    home = people.origin()
    for _ in range(5):
        with pytest.raises(Invalid):
            logins.look_up("WXYZ-0000", ada.user.id, home)
    with pytest.raises(RateLimited, match="wrong codes"):
        logins.look_up(right, ada.user.id, people.origin())
    with pytest.raises(RateLimited, match="wrong codes"):
        logins.look_up(right, bo.user.id, home)
    assert logins.look_up(right, bo.user.id, people.origin()).is_pending(people.clock.now())


def test_codes_are_typed_in_any_form(gate: GateApplication, people: People) -> None:
    """Case and separators don't matter; another letter does."""
    code = start(gate)["user_code"]
    logins, ada = people.sandbox.services.device_logins, people.owner()
    for typed in (code, code.lower(), code.replace("-", ""), f" {code.replace('-', ' ')} "):
        assert logins.look_up(typed, ada.user.id, ORIGIN).is_pending(people.clock.now())
    assert user_code_digest(code[:-1]) != user_code_digest(code)


# --- one decision, one use ---


def test_denied_requests_get_access_denied_once(gate: GateApplication, people: People) -> None:
    """A denied request can't be approved; the terminal learns of it, then the code is dead."""
    started, ada = start(gate), people.owner()
    people.sandbox.services.device_logins.deny(started["user_code"], ada.user.id, ORIGIN)
    with pytest.raises(Invalid):
        approve(people, ada, started["user_code"])
    assert error(gate, started["device_code"]) == "access_denied"
    assert error(gate, started["device_code"]) == "expired_token"


def test_a_request_is_approved_once(gate: GateApplication, people: People) -> None:
    """The second of two people who approve a code is refused, and the key is the first one's."""
    started, ada, bo = start(gate), people.owner(), people.owner("Bo")
    approve(people, ada, started["user_code"])
    with pytest.raises(Invalid):
        approve(people, bo, started["user_code"])
    poll(gate, started["device_code"])
    assert len(people.sandbox.keys(acting_operator(ada.workspace_id))) == 1
    assert not people.sandbox.keys(acting_operator(bo.workspace_id))


def test_concurrent_approvals_are_one(own_sandbox: SandboxInstallation) -> None:
    """Of eight people who approve a code at the same time, one succeeds, and the key is that one's."""
    people = People(own_sandbox)
    logins, members = own_sandbox.services.device_logins, [people.owner() for _ in range(8)]
    started = logins.start(DeviceRequest(), ORIGIN)

    def approves(member: Member) -> bool:
        try:
            logins.approve(acting(member), started.user_code, NARROW, people.origin())
        except Invalid:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        approved = list(threads.map(approves, members))
    assert sum(approved) == 1
    logins.poll(started.device_code, ORIGIN)
    [owner] = [member for member, is_approved in zip(members, approved, strict=True) if is_approved]
    assert own_sandbox.keys(acting_operator(owner.workspace_id))


def test_concurrent_polls_create_one_key(own_sandbox: SandboxInstallation) -> None:
    """Of ten polls at the same time on two servers, one gets the key; the workspace has one."""
    people = People(own_sandbox)
    servers, ada = [own_sandbox.services, own_sandbox.another().services], people.owner()
    started = servers[0].device_logins.start(DeviceRequest(), ORIGIN)
    approve(people, ada, started.user_code)
    with ThreadPoolExecutor(10) as threads:
        polls = threads.map(
            lambda n: servers[n % 2].device_logins.poll(started.device_code, ORIGIN), range(10)
        )
        keys = [each for each in polls if not isinstance(each, device_logins.PollRefusal)]
    assert len(keys) == 1
    assert len(own_sandbox.keys(acting_operator(ada.workspace_id))) == 1


# --- everything is checked again when the key is created ---


def test_a_removed_member_gives_no_key(gate: GateApplication, people: People) -> None:
    """Who lost the membership after approving: `access_denied` with the reason, and no key."""
    ada = people.owner()
    bo = people.join(ada, Role.DEVELOPER)
    started = start(gate)
    approve(people, bo, started["user_code"])
    people.members.remove(acting(ada), bo.user.id)
    status, members = poll(gate, started["device_code"])
    assert (status, members["error"]) == (400, "access_denied")
    assert "no longer a member" in members["error_description"]
    assert not people.sandbox.keys(acting_operator(ada.workspace_id))
    assert error(gate, started["device_code"]) == "expired_token"


def test_a_lost_role_gives_no_key(gate: GateApplication, people: People) -> None:
    """Who became a viewer after approving: `access_denied`; a viewer can't approve at all."""
    ada = people.owner()
    bo = people.join(ada, Role.DEVELOPER)
    started = start(gate)
    approve(people, bo, started["user_code"])
    people.members.change_role(acting(ada), bo.user.id, Role.VIEWER)
    assert poll(gate, started["device_code"])[1]["error"] == "access_denied"
    viewer = people.join(ada, Role.VIEWER)
    with pytest.raises(Forbidden):
        approve(people, viewer, start(gate)["user_code"])


def test_no_room_gives_no_key(gate: GateApplication, people: People) -> None:
    """At the plan's limit nothing can be approved; a limit reached since the approval is `access_denied`."""
    ada, started = people.owner(), start(gate)
    tenant = acting_operator(ada.workspace_id)
    approve(people, ada, started["user_code"])
    people.sandbox.limit(tenant, 0)
    status, members = poll(gate, started["device_code"])
    assert (status, members["error"]) == (400, "access_denied")
    assert "allows 0 active API keys" in members["error_description"]
    with pytest.raises(LimitReached):
        approve(people, ada, start(gate)["user_code"])


def test_the_policy_bounds_what_is_approved(gate: GateApplication, people: People) -> None:
    """A named expiry beyond the policy is refused, an omitted one is the policy's default."""
    ada, started = people.owner(), start(gate)
    set_policy(people, ada, Policy(max_lifetime_days=30, default_lifetime_days=7))
    late = KeyDraft("late", NOON + timedelta(days=30, seconds=1), (DOCUMENTS_READ,))
    with pytest.raises(AgainstPolicy):
        approve(people, ada, started["user_code"], late)
    approve(people, ada, started["user_code"], KeyDraft("soon", scopes=(DOCUMENTS_READ,)))
    people.clock.advance(timedelta(minutes=5))
    seconds = int(timedelta(days=7, minutes=-5).total_seconds())
    assert poll(gate, started["device_code"])[1]["expires_in"] == seconds


def test_a_tighter_policy_gives_no_key(gate: GateApplication, people: People) -> None:
    """A policy that was tightened since the approval: `access_denied` with the reason, and no key."""
    ada, started = people.owner(), start(gate)
    approve(people, ada, started["user_code"])
    set_policy(people, ada, Policy(max_lifetime_days=7))
    status, members = poll(gate, started["device_code"])
    assert (status, members["error"]) == (400, "access_denied")
    assert "7 days" in members["error_description"]
    assert not people.sandbox.keys(acting_operator(ada.workspace_id))


def test_wide_keys_need_a_recent_proof_when_approved(gate: GateApplication, people: People) -> None:
    """Approving a wide key takes a sign-in of the last 15 minutes; collecting it takes none (R69, R102)."""
    ada, started = people.owner(), start(gate)
    wide = KeyDraft("all", None, (EVERYTHING,))
    people.clock.advance(REAUTHENTICATION_AGE)
    logins = people.sandbox.services.device_logins
    started = start(gate)
    with pytest.raises(ReauthenticationRequired):
        logins.approve(acting(ada, NOON), started["user_code"], wide, ORIGIN)
    approve(people, ada, started["user_code"], wide)
    people.clock.advance(LIFETIME - timedelta(seconds=1))
    assert poll(gate, started["device_code"])[1]["scope"] == EVERYTHING


# --- requests ---


@pytest.mark.parametrize(
    ("path", "form", "error"),
    [
        (AUTHORIZE, [], "invalid_client"),
        (AUTHORIZE, [("client_id", "other")], "invalid_client"),
        (AUTHORIZE, [CLIENT, ("scope", "no:such")], "invalid_scope"),
        (AUTHORIZE, [CLIENT, ("description", "two\nlines")], "invalid_request"),
        (AUTHORIZE, [CLIENT, ("host", "not a host")], "invalid_request"),
        (AUTHORIZE, [CLIENT, CLIENT], "invalid_request"),
        (TOKEN, [CLIENT], "unsupported_grant_type"),
        (TOKEN, [CLIENT, ("grant_type", "password")], "unsupported_grant_type"),
        (TOKEN, [CLIENT, ("grant_type", GRANT_TYPE)], "invalid_request"),
    ],
)
def test_malformed_requests(
    gate: GateApplication, path: str, form: list[tuple[str, str]], error: str
) -> None:
    """Each is 400 with OAuth's error and a description, and stores nothing."""
    response = gate.post(path, form)
    members = parsed(response)
    assert (response.status, members["error"]) == (400, error)
    assert members["error_description"]


def test_other_requests_are_refused(gate: GateApplication) -> None:
    """GET is 405, another path 404, JSON 400, a large body 413: all in OAuth's form."""
    get = gate.send(scope_of("GET", AUTHORIZE, [HOST]))
    assert (get.status, get.header("allow")) == (405, "POST")
    assert parsed(get)["error"] == "invalid_request"
    assert gate.post("/oauth/other", [CLIENT]).status == 404
    json_type = (b"content-type", b"application/json")
    assert gate.send(scope_of("POST", TOKEN, [HOST, json_type]), b"{}").status == 400
    assert gate.post(TOKEN, b"client_id=" + b"a" * 70_000).status == 413


def test_a_token_is_no_way_to_sign_in(gate: GateApplication) -> None:
    """A valid key in the Authorization field changes nothing: a key can't sign in (R56)."""
    response = gate.post(TOKEN, [CLIENT], *bearer(gate.token()))
    assert parsed(response)["error"] == "unsupported_grant_type"


# --- discovery (RFC 8414) ---


def test_no_discovery_without_a_public_url(gate: GateApplication) -> None:
    """Without `public_url` there is no issuer to name: 404."""
    assert (
        gate.send(scope_of("GET", "/.well-known/oauth-authorization-server", [HOST])).status == 404
    )


def test_discovery_names_the_endpoints(own_sandbox: SandboxInstallation) -> None:
    """With `public_url` the document says where all endpoints are, to GET and HEAD; other paths and methods fail."""
    issuer = "https://keys.example.com"
    settings = Settings(database=own_sandbox.url, public_url=issuer)
    installation = open_installation(settings, PEPPERS, own_sandbox.clock)
    own_sandbox.more.append(installation)
    with asyncio.Runner() as runner:
        gate = gate_of(replace(own_sandbox, installation=installation), runner)
        path = "/.well-known/oauth-authorization-server"
        response = gate.send(scope_of("GET", path, [HOST]))
        assert gate.send(scope_of("HEAD", path, [HOST])).status == response.status == 200
        assert gate.send(scope_of("POST", path, [HOST])).status == 405
        assert gate.send(scope_of("GET", f"{path}/x", [HOST])).status == 404
        members = response.json()
        assert members["issuer"] == issuer
        assert members["response_types_supported"] == []
        assert members["token_endpoint_auth_methods_supported"] == ["none"]
        assert members["grant_types_supported"] == [GRANT_TYPE]
        assert members["scopes_supported"][0] == EVERYTHING
        for name, value in members.items():
            if name.endswith("_endpoint"):
                found = gate.send(scope_of("GET", value.removeprefix(issuer), [HOST]))
                assert (found.status, found.header("allow")) == (405, "POST"), name
        started = start(gate, scheme="https")
        assert started["verification_uri"] == f"{issuer}/device"
