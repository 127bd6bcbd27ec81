"""Every operation of the API is a call of both kinds of client, with the described request and result."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pytest

from keystead import client as sdk
from keystead.api.openapi.samples import sample_of
from keystead.api.openapi.sdk_samples import SDK_CALLS
from keystead.client import (
    AsyncClient,
    AsyncOperator,
    Client,
    DocumentDraft,
    IncompleteExport,
    Operator,
    PlanWithLimits,
    Policy,
    TokenLost,
)
from keystead.client._async.client import AsyncBaseClient
from keystead.client._sync.client import BaseClient
from keystead.domain.renewals import Renewal
from keystead.domain.token import Secret, Token
from tests.support.described_calls import CALLS as DESCRIBED
from tests.support.described_calls import SCHEMAS
from tests.support.sdk_clients import KINDS, OPERATORS, opened
from tests.support.stub_server import TOKEN, stub_server

OPERATIONS = {call[2]["operationId"]: call for call in DESCRIBED}
URL = "https://keys.example.com"
END = datetime(2027, 1, 31, 12, tzinfo=UTC)
POLICY = Policy(90, True, 30, 180, False)
DRAFT = DocumentDraft("a", "text", title="A", url="https://example.com/a", attributes={"n": 1})

Ask = Callable[[Any], Any]
FILTERS: dict[str, Any] = {
    "status": "active",
    "query": "q",
    "created_by": "key_1",
    "unused_for": timedelta(days=30),
    "expiring_within": timedelta(days=14),
    "outside_policy": True,
    "sort": "expires_at",
    "order": "asc",
}
MEMBERS: dict[str, Any] = {
    "networks": ["203.0.113.0/24"],
    "metadata": {"customer": "42"},
    "renewal": Renewal(END),
}
ROTATION: dict[str, Any] = {
    "overlap": timedelta(hours=2),
    "end_when_quiet": timedelta(hours=1),
    "expires_at": None,
}
WORKSPACE_CALLS: dict[str, Ask] = {
    "whoami": lambda c: c.whoami(),
    "getPlan": lambda c: c.plan(),
    "getPolicy": lambda c: c.policy(),
    "createKey": lambda c: c.keys.create("d", scopes=["*"], expires_at=END, **MEMBERS),
    "listKeys": lambda c: c.keys.page(**FILTERS, limit=3, cursor="c"),
    "getKey": lambda c: c.keys.get("key_1"),
    "updateKey": lambda c: c.keys.update(
        "key_1", description="d", scopes=["*"], expires_at=None, **MEMBERS
    ),
    "revokeKey": lambda c: c.keys.revoke("key_1", family=True),
    "rotateKey": lambda c: c.keys.rotate("key_1", **ROTATION),
    "renewKey": lambda c: c.keys.renew(),
    "getKeyUsage": lambda c: c.keys.usage("key_1", first=END.date(), last=END.date()),
    "getUsage": lambda c: c.usage.page_by_key(
        first=END.date(), last=END.date(), limit=3, cursor="c"
    ),
    "createCollection": lambda c: c.collections.create("docs", "Docs"),
    "listCollections": lambda c: c.collections.page(limit=3, cursor="c"),
    "getCollection": lambda c: c.collections.get("docs"),
    "updateCollection": lambda c: c.collections.update("docs", title="Docs"),
    "deleteCollection": lambda c: c.collections.delete("docs", documents=True),
    "listDocuments": lambda c: c.documents.page("docs", limit=3, cursor="c"),
    "getDocument": lambda c: c.documents.get("docs", "a"),
    "putDocument": lambda c: c.documents.put("docs", DRAFT),
    "deleteDocument": lambda c: c.documents.delete("docs", "a"),
    "pushDocuments": lambda c: c.documents.push("docs", [DRAFT], ["b"]),
    "listEvents": lambda c: c.events.page(type="key.revoked", limit=3, cursor="c"),
    "createWebhook": lambda c: c.webhooks.create(
        "CRM", "https://example.com/", events=["*"], headers={"x-a": "b"}
    ),
    "listWebhooks": lambda c: c.webhooks.page(limit=3, cursor="c"),
    "getWebhook": lambda c: c.webhooks.get("wh_1"),
    "updateWebhook": lambda c: c.webhooks.update(
        "wh_1",
        name="CRM",
        url="https://example.com/",
        events=["*"],
        headers={"x-a": "b"},
        status="disabled",
    ),
    "deleteWebhook": lambda c: c.webhooks.delete("wh_1"),
    "rotateWebhookSecret": lambda c: c.webhooks.rotate_secret("wh_1"),
    "testWebhook": lambda c: c.webhooks.test("wh_1"),
    "listDeliveries": lambda c: c.deliveries.page("wh_1", status="failed", limit=3, cursor="c"),
    "getDelivery": lambda c: c.deliveries.get("dlv_1"),
    "resendDelivery": lambda c: c.deliveries.redeliver("dlv_1"),
}


def within(id: str) -> str:
    """Return the name of the operators' twin of a call about keys."""
    return re.sub("(?=[A-Z])", "Workspace", id, count=1)


def by_operator(ask: Ask) -> Ask:
    """Return a call about keys as an operator makes it within a workspace."""
    return lambda client: ask(SimpleNamespace(keys=client.keys("ws_1")))


KEY_CALLS = {
    id: ask
    for id, ask in WORKSPACE_CALLS.items()
    if id.endswith(("Key", "Keys", "KeyUsage"))
    and id != "renewKey"  # which is about the calling key
}
OPERATOR_CALLS: dict[str, Ask] = {within(id): by_operator(ask) for id, ask in KEY_CALLS.items()} | {
    "createWorkspace": lambda c: c.workspaces.create(
        "Acme", plan="team", owner="Ann", email="ann@example.com"
    ),
    "listWorkspaces": lambda c: c.workspaces.page(query="acme", limit=3, cursor="c"),
    "getWorkspace": lambda c: c.workspaces.get("ws_1"),
    "updateWorkspace": lambda c: c.workspaces.update("ws_1", name="Acme", external_id="a:1"),
    "putWorkspace": lambda c: c.workspaces.put("a:1", "Acme", plan="team"),
    "getWorkspaceByExternalId": lambda c: c.workspaces.by_external_id("a:1"),
    "suspendWorkspace": lambda c: c.workspaces.suspend("ws_1"),
    "resumeWorkspace": lambda c: c.workspaces.resume("ws_1"),
    "exportWorkspace": lambda c: c.workspaces.export("ws_1", lambda _: None),
    "deleteWorkspace": lambda c: c.workspaces.delete("ws_1"),
    "setWorkspacePlan": lambda c: c.workspaces.put_on_plan("ws_1", "team", overrides={"keys": 1}),
    "listCredentials": lambda c: c.credentials.page(limit=3, cursor="c"),
    "createCredential": lambda c: c.credentials.create("billing", kind="service"),
    "revokeCredential": lambda c: c.credentials.revoke("op_1", created=True),
    "getWorkspaceRateLimits": lambda c: c.workspaces.rate_limits("ws_1"),
    "setWorkspaceRateLimits": lambda c: c.workspaces.set_rate_limits(
        "ws_1", workspace_per_minute=600, key_per_minute=60
    ),
    "getKeyRateLimits": lambda c: c.workspaces.key_rate_limits("ws_1", "key_1"),
    "setKeyRateLimits": lambda c: c.workspaces.set_key_rate_limits("ws_1", "key_1", per_minute=60),
    "getKeyOwner": lambda c: c.owner_of(TOKEN),
    "listMembers": lambda c: c.members("ws_1").page(limit=3, cursor="c"),
    "putMember": lambda c: c.members("ws_1").put("u|1", name="Ada", role="owner", email="a@b.cd"),
    "updateMember": lambda c: c.members("ws_1").update("usr_1", role="viewer"),
    "deleteMember": lambda c: c.members("ws_1").remove("usr_1"),
    "getWorkspacePolicy": lambda c: c.workspaces.policy("ws_1"),
    "setWorkspacePolicy": lambda c: c.workspaces.set_policy("ws_1", POLICY),
    "listFeedEvents": lambda c: c.feed("1", workspace="ws_1", type="key.revoked", limit=3),
    "listUsage": lambda c: c.usage_page(first=END.date(), last=END.date(), limit=3, cursor="c"),
    "listWorkspaceEvents": lambda c: c.events("ws_1").page(type="key.revoked", limit=3, cursor="c"),
    "listPlans": lambda c: c.plans(),
    "putPlans": lambda c: c.put_plans(
        [PlanWithLimits("free", "Free", {"api_keys": 5})], dry_run=True, allow_loosening=True
    ),
    "createPortalSession": lambda c: c.portal_session(
        "ws_1",
        user_id="u1",
        name="Ada",
        role="viewer",
        email="ada@example.com",
        return_url="https://app.example.com/",
    ),
}
CALLS = WORKSPACE_CALLS | OPERATOR_CALLS


class Answering:
    """A transport that sends one response to every request, and records the requests."""

    def __init__(self, status: int, body: bytes) -> None:
        self.requests: list[httpx2.Request] = []
        self._status, self._body = status, body

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request of httpx2."""
        self.requests.append(request)
        return httpx2.Response(self._status, content=self._body)


def filled(schema: Any) -> Any:
    """Return the schema without nulls."""
    if isinstance(schema, list):
        return [filled(item) for item in schema if item != {"type": "null"}]
    return {n: filled(s) for n, s in schema.items()} if isinstance(schema, dict) else schema


FILLED = filled(SCHEMAS)


def described(id: str, schemas: dict[str, Any] = SCHEMAS) -> tuple[int, Any]:
    """Return the status and a sample of an operation's described success."""
    responses = OPERATIONS[id][2]["responses"]
    status = min(code for code in responses if code.startswith("2"))
    if "content" not in responses[status]:
        return int(status), None
    if id == "exportWorkspace":  # a line, without the line break
        return int(status), {"type": "end", "lines": 0}
    schema = responses[status]["content"]["application/json"]["schema"]
    sample = sample_of(schema, schemas)
    if "token" in sample:
        sample["token"] = TOKEN
    if id == "createPortalSession":
        sample["url"] = f"{URL}/sign-in?link={TOKEN}"
    return int(status), sample


def kind_of(id: str, place: int) -> type[Any]:
    """Return the client that has the call."""
    return (KINDS if id in WORKSPACE_CALLS else OPERATORS)[place]


def request_of(
    id: str, place: int, schemas: dict[str, Any] = SCHEMAS
) -> tuple[httpx2.Request, Any]:
    """Return the request of an operation, and the result of its described response."""
    status, response = described(id, schemas)
    body = b"" if response is None else json.dumps(response, separators=(",", ":")).encode()
    answering = Answering(status, body + b"\n" * (id == "exportWorkspace"))
    transport = httpx2.MockTransport(answering)
    with opened(kind_of(id, place), URL, TOKEN, transport=transport) as client:
        result = CALLS[id](client)
    (request,) = answering.requests
    return request, result


def test_no_call_is_left_out() -> None:
    """The SDK has exactly the operations that the API describes."""
    assert set(CALLS) == set(OPERATIONS)


@pytest.mark.parametrize("id", CALLS)
def test_a_call_is_sent_as_it_is_described(id: str) -> None:
    """Method, path, parameters and members are as described, and the same for both kinds."""
    path, method, operation = OPERATIONS[id]
    (waiting, _), (awaiting, _) = request_of(id, 0), request_of(id, 1)
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
    assert re.fullmatch(pattern, waiting.url.path)
    assert waiting.method.lower() == method
    known = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
    parameters = {name for name, _ in parse_qsl(waiting.url.query.decode())}
    assert parameters | ({"query"} if id == "listDocuments" else set()) == known, (
        "it has two methods"
    )
    assert bool(waiting.content) == ("requestBody" in operation)
    if waiting.content:
        assert json.loads(waiting.content).keys() == members(operation)
    assert facts(waiting) == facts(awaiting)
    takes_once = any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", ()))
    assert ("idempotency-key" in waiting.headers) == takes_once


def members(operation: dict[str, Any]) -> set[str]:
    """Return the members of an operation's body."""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    name = re.findall(r"schemas/(\w+)", json.dumps(schema))[0]
    return set(SCHEMAS[name]["properties"])


def facts(request: httpx2.Request) -> tuple[Any, ...]:
    """Return the facts of a request except its Idempotency-Key, which differs each time."""
    fields = {k: v for k, v in request.headers.items() if k != "idempotency-key"}
    return request.method, str(request.url), request.content, fields


@pytest.mark.parametrize("schemas", [SCHEMAS, FILLED], ids=["with nulls", "filled"])
@pytest.mark.parametrize("id", CALLS)
def test_an_answer_is_read_as_it_is_described(id: str, schemas: dict[str, Any]) -> None:
    """The typed result has every member of the described response, for both kinds."""
    _, response = described(id, schemas)
    result = request_of(id, 0, schemas)[1]
    assert repr(request_of(id, 1, schemas)[1]) == repr(result)
    if response is None:
        assert result is None
        return
    if id == "exportWorkspace":
        assert result == 0
        return
    assert TOKEN not in repr(result)
    assert response.get("secret", TOKEN) not in repr(result)
    assert plain(result) == plain_of(response)


def plain(value: Any) -> Any:
    """Return a typed value as JSON. Its tag comes from a header field."""
    match value:
        case Token() | Secret():
            return value.reveal()
        case date():
            return value.isoformat()
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {name: plain(item) for name, item in value.items()}
        case _ if is_dataclass(value):
            names = [each.name for each in fields(value) if each.name != "etag"]
            return {name: plain(getattr(value, name)) for name in names}
        case _:
            return value


def plain_of(value: Any) -> Any:
    """Return the JSON of a value with times as Python writes them; for lists of a single page, their items."""
    if isinstance(value, dict):
        first = value["items"][0] if {"items", "next_cursor"} == value.keys() else {}
        only_items = "limits" in first or first.keys() == {"day", "requests", "refused"}
        inside = {name: plain_of(item) for name, item in value.items()}
        return inside["items"] if only_items else inside
    if isinstance(value, list):
        return [plain_of(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+Z", value):
        return value.replace("Z", "+00:00")
    return value


def test_the_reference_has_code_for_each_call() -> None:
    """Every call of a workspace is shown with the SDK."""
    assert set(SDK_CALLS) == set(WORKSPACE_CALLS)


@pytest.mark.parametrize("id", SDK_CALLS)
def test_the_code_of_the_reference_makes_the_call(id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program runs as it stands, and sends the request that it is shown at."""
    path, method, operation = OPERATIONS[id]
    status, response = described(id)
    if isinstance(response, dict) and "next_cursor" in response:
        response["next_cursor"] = None
    body = b"" if response is None else json.dumps(response).encode()
    monkeypatch.setenv("KEYSTEAD_TOKEN", TOKEN)
    with stub_server() as stub:
        stub.answers = [(status, {"content-type": "application/json"}, body)]
        exec(SDK_CALLS[id].code(stub.url), {})  # noqa: S102 - it is our own code
        [(sent_method, sent_path, _, content)] = stub.requests
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
    assert sent_method.lower() == method
    assert re.fullmatch(pattern, sent_path.partition("?")[0])
    assert bool(content) == ("requestBody" in operation)


def test_lists_go_on_to_the_end() -> None:
    """Each list yields the items of all pages, and sends the cursor of each page."""
    walks: dict[str, Ask] = {
        "listKeys": lambda c: c.keys.list(status="active", query="q"),
        "listCollections": lambda c: c.collections.list(),
        "listDocuments": lambda c: c.documents.list("docs"),
        "listEvents": lambda c: c.events.list(type="key.revoked"),
        "getUsage": lambda c: c.usage.by_key(),
        "listUsage": lambda c: c.usage(),
        "listWebhooks": lambda c: c.webhooks.list(),
        "listDeliveries": lambda c: c.deliveries.list("wh_1", status="failed"),
        "listWorkspaces": lambda c: c.workspaces.list(query="acme"),
        "listMembers": lambda c: c.members("ws_1").list(),
        "listCredentials": lambda c: c.credentials.list(),
        "listWorkspaceKeys": lambda c: c.keys("ws_1").list(status="active", query="q"),
        "listWorkspaceEvents": lambda c: c.events("ws_1").list(type="key.revoked"),
    }
    lists = {id for id, (_, _, o) in OPERATIONS.items() if "cursor" in str(o.get("parameters"))}
    assert set(walks) == lists
    for id, walk in walks.items():
        sent = [cursors_of(kind_of(id, place), walk, described(id)[1]) for place in (0, 1)]
        assert sent == [[None, "second", "third"]] * 2


def cursors_of(kind: type[Any], walk: Ask, response: Any) -> list[str | None]:
    """Return the cursors of a list of three pages."""
    cursors: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        cursors.append(request.url.params.get("cursor"))
        after = ["second", "third", None][len(cursors) - 1]
        return httpx2.Response(200, json=response | {"next_cursor": after})

    with opened(kind, URL, TOKEN, transport=httpx2.MockTransport(answer)) as client:
        assert len(list(walk(client))) == 3 * len(response["items"])
    return cursors


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_was_shown_before_is_lost(kind: type[Any]) -> None:
    """A repeated creation is answered without the token: TokenLost, with the key to rotate."""
    status, response = described("createKey")
    transport = httpx2.MockTransport(
        Answering(status, json.dumps(response | {"token": None}).encode())
    )
    with opened(kind, URL, TOKEN, transport=transport) as client, pytest.raises(TokenLost) as lost:
        client.keys.create("x")
    assert lost.value.key.id == response["id"]
    assert response["id"] in str(lost.value)


PAIRS = [(BaseClient, AsyncBaseClient), (Client, AsyncClient), (Operator, AsyncOperator)]


def parts() -> Iterator[tuple[type[Any], type[Any]]]:
    """Yield each synchronous class with its asynchronous counterpart."""
    yield from PAIRS
    for waiting, awaiting in PAIRS:
        for name, member in inspect.getmembers(waiting, lambda m: isinstance(m, property)):
            part = inspect.signature(member.fget, eval_str=True).return_annotation
            if inspect.isclass(part) and part.__module__.startswith("keystead.client."):
                other = inspect.signature(getattr(awaiting, name).fget, eval_str=True)
                yield part, other.return_annotation


@pytest.mark.parametrize(("waiting", "awaiting"), list(parts()), ids=lambda kind: kind.__name__)
def test_both_kinds_have_the_same_methods(waiting: type[Any], awaiting: type[Any]) -> None:
    """Both have the same names and parameters; the asynchronous method awaits the same result."""
    assert awaiting.__name__ == f"Async{waiting.__name__}"
    assert names(waiting) == names(awaiting)
    for name in names(waiting):
        method, other = getattr(waiting, name), getattr(awaiting, name)
        if not inspect.isfunction(method):
            continue
        (taken, given), (other_taken, other_given) = signature(method), signature(other)
        assert taken == other_taken, name
        if inspect.iscoroutinefunction(other):
            assert given == other_given, name
        elif name != "__repr__":
            assert other_given in {given.replace("Iterator[", "AsyncIterator["), f"Async{given}"}


def names(kind: type[Any]) -> set[str]:
    """Return its public methods and properties."""
    return {name for name in dir(kind) if not name.startswith("_")}


def signature(method: Any) -> tuple[list[str], str]:
    """Return the parameters and the return type of a method."""
    inspected = inspect.signature(method)
    return [str(each) for each in inspected.parameters.values()], str(inspected.return_annotation)


def test_all_public_names_are_there_and_explained() -> None:
    """`__all__` is sorted and complete, and each of its classes has a docstring."""
    assert sorted(sdk.__all__, key=lambda n: (not n.isupper(), n)) == sdk.__all__
    for name in sdk.__all__:
        value = getattr(sdk, name)
        assert not inspect.isclass(value) or inspect.getdoc(value), name


@pytest.mark.parametrize("place", [0, 1])
def test_an_export_without_its_end_is_an_error(place: int) -> None:
    """Parts are passed on as they come, however they are cut; a missing or wrong end raises."""
    whole = b'{"type":"key","data":{}}\n{"type":"key","data":{}}\n{"type":"end","lines":2}\n'
    for body, is_whole in (
        (whole, True),
        (whole[:-1], False),
        (whole.replace(b"2", b"3"), False),
        (whole[: whole.index(b"\n") + 1], False),
        (b"", False),
    ):
        written: list[bytes] = []
        transport = httpx2.MockTransport(Answering(200, body))
        with opened(OPERATORS[place], URL, TOKEN, transport=transport) as client:
            if is_whole:
                assert client.workspaces.export("ws_1", written.append) == 2
            else:
                with pytest.raises(IncompleteExport):
                    client.workspaces.export("ws_1", written.append)
        assert b"".join(written) == body
