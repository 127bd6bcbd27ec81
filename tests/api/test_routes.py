"""The route table: every call is found by its own path, and a query is read in one way for all of them."""

from __future__ import annotations

from typing import Any

import pytest

from keystead.api.app import Api
from keystead.api.dispatch import Routes
from keystead.api.routes import OPERATIONS
from keystead.domain.errors import InvalidToken, NotFound
from keystead.http.asgi import Receive, Scope, Send, send_answer
from keystead.http.bearer import bearer_of
from keystead.http.problems import MethodNotAllowed, Problems
from keystead.http.stack import Stack
from tests.support.api_client import BASE, Tenant, pointers
from tests.support.asgi import HOST, Response, call, scope_of

PROBLEMS = Problems(BASE)
ROUTES = Routes((operation, operation.name) for operation in OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_each_call_is_found_by_its_path(operation: Any) -> None:
    """The method and the template lead to the call, with the parameters that the path has."""
    names = [parameter.name for parameter in operation.path_parameters]
    path = operation.path.format(**{name: f"a {name}" for name in names})
    found, parameters = ROUTES.find(operation.method, path)
    assert (found, parameters) == (operation.name, {name: f"a {name}" for name in names})


@pytest.mark.parametrize("path", ["/v1/keys/", "/v1/keys//", "/v1/keys/a/b", "/v1", "/", "/v1/k"])
def test_no_other_path_leads_to_a_call(path: str) -> None:
    """An empty segment is no parameter, and a segment more is another path."""
    with pytest.raises(NotFound):
        ROUTES.find("GET", path)


def test_two_templates_of_one_path_share_its_methods() -> None:
    """A document may be called "batch": its methods and the batch's belong to the same path."""
    path = "/v1/collections/handbook/documents/batch"
    assert ROUTES.find("POST", path)[0] == "pushDocuments"
    assert ROUTES.find("HEAD", path)[0] == "getDocument"
    with pytest.raises(MethodNotAllowed) as refused:
        ROUTES.find("PATCH", path)
    assert refused.value.allow == "GET, HEAD, POST, PUT, DELETE"


def test_all_refused_parameters_are_named(quick: Tenant) -> None:
    """Unknown ones, repeated ones and those of another type, in one answer."""
    answer = quick.client().get("/v1/keys?limit=1&limit=2&x=1&status=alive&query=a")
    assert pointers(answer) == ["query:limit", "query:status", "query:x"]


def test_a_response_without_a_body_has_no_length(quick: Tenant) -> None:
    """204 has neither Content-Length nor Content-Type (RFC 9110 section 8.6); every other response has both."""
    client = quick.client()
    key = client.create_key()
    deleted = client.delete(f"/v1/keys/{key['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert not {"content-length", "content-type"} & deleted.headers.keys()
    read = client.get(f"/v1/keys/{key['id']}")
    assert read.headers["content-length"] == str(len(read.content))
    assert read.headers["content-type"] == "application/json"


def without_id(response: Response) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return the response without its request ID, which is different for every request."""
    headers = sorted(header for header in response.headers if header[0] != b"x-request-id")
    return response.status, headers, response.body


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve an endpoint that answers for itself."""
    error = InvalidToken("unknown")
    try:
        bearer_of(scope)
    except InvalidToken as malformed:
        error = malformed
    await send_answer(send, PROBLEMS.answer(error))


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    """Leave the answer to the stack."""
    raise InvalidToken("revoked")


def test_a_dead_token_gets_the_same_bytes_from_every_endpoint(quick: Tenant) -> None:
    """The API, plain ASGI and code that just raises respond byte for byte alike, whatever was wrong with the token."""
    api = Api(quick.api.services, base_url=BASE)
    answers = []
    for value in (b"Bearer abc", b"Bearer not token68", b"Bearer", b"bearer a=b"):
        for app in (plain, raising, api):
            scope = scope_of("DELETE", "/v1/keys/x", [HOST, (b"authorization", value)])
            answers.append(without_id(call(Stack(app, PROBLEMS), scope)))
    assert answers[0][0] == 401
    assert answers == [answers[0]] * 12


def test_metrics_see_the_template(quick: Tenant) -> None:
    """The label is the template of the call's path, and empty for a path without a call."""
    counted: list[tuple[Any, ...]] = []
    api = Api(quick.api.services, base_url=BASE)
    stack = Stack(api, PROBLEMS, on_response=lambda *seen: counted.append(seen[:3]))
    for path in ("/v1/keys/key_x", "/v1/none", "/problems/invalid", "/openapi.json"):
        call(stack, scope_of("GET", path))
    assert counted == [
        ("GET", "/v1/keys/{id}", 401),
        ("GET", "", 404),
        ("GET", "/problems", 200),
        ("GET", "/openapi.json", 200),
    ]
