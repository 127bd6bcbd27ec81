"""`POST /oauth/device_authorization` and `POST /oauth/token`: signing in at a terminal (RFC 8628)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from typing_extensions import override

from keystead.domain.device_logins import (
    CLIENT_ID,
    GRANT_TYPE,
    INTERVAL,
    LIFETIME,
    DeviceRequest,
    check_request,
    reason_of,
)
from keystead.domain.errors import Invalid, InvalidRequest, KeysteadError, NotFound
from keystead.domain.events import Origin
from keystead.domain.product import OURS, Product
from keystead.domain.scopes import ScopeCatalog
from keystead.domain.throttle import address_subject
from keystead.domain.token import Secret
from keystead.gate.answers import read_form
from keystead.http.asgi import NO_STORE, Answer, Header, Receive, Scope, Send, send_answer
from keystead.http.client import Network, client_of, note_caller, note_route
from keystead.http.problems import STATUS, MethodNotAllowed, Problems
from keystead.http.stack import OnResponse, Stack
from keystead.services import Services
from keystead.services.concurrency import FairThreadPool
from keystead.services.device_logins import PollRefusal, StartedLogin
from keystead.services.key_issuer import CreatedKey

PREFIX: Final = "/oauth"
DEVICE_AUTHORIZATION: Final = f"{PREFIX}/device_authorization"
TOKEN: Final = f"{PREFIX}/token"
PAGE: Final = "/device"
"""The page of the Developer area for the code."""
REQUESTS: Final = 4
"""Concurrent requests of one process. Each may wait for a lock."""

_JSON: Final[Header] = (b"content-type", b"application/json")
_ERRORS: Final = {
    429: "temporarily_unavailable",
    500: "server_error",
    503: "temporarily_unavailable",
    507: "server_error",
}

Form = Mapping[str, str]
T = TypeVar("T")


class OAuthRefusal(InvalidRequest):
    """A refusal with one of OAuth's own errors (RFC 6749 section 5.2)."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error = error


class OAuthErrors(Problems):
    """Refusals as OAuth clients read them: JSON with `error` and `error_description` (RFC 6749 section 5.2)."""

    @override
    def body(self, error: KeysteadError) -> dict[str, object]:
        detail = super().body(error)["detail"]
        described = reason_of(error) if isinstance(error, Invalid) else detail
        return {"error": _error_of(error), "error_description": described}

    @override
    def answer(self, error: KeysteadError) -> Answer:
        answer = super().answer(error)
        headers = tuple(field for field in answer.headers if field[0] != b"content-type")
        status = 400 if answer.status in {415, 422} else answer.status
        return Answer(status, (_JSON, *headers), answer.body)


class DeviceLogins:
    """The ASGI application, with its own `Stack`, so that all its refusals have OAuth's form.

    A terminal has no credential: what it knows is the device code, which only ever travels in a form's body.
    """

    def __init__(
        self,
        services: Services,
        base_url: str,
        *,
        product: Product = OURS,
        proxies: Sequence[Network] = (),
        on_response: OnResponse | None = None,
    ) -> None:
        """`base_url`: this server's public URL, without a slash at the end."""
        self._logins = services.device_logins
        self._catalog: ScopeCatalog = services.keys.catalog
        self._page = f"{base_url}{PAGE}"
        self._threads = FairThreadPool(REQUESTS, "device-login")
        self._calls = {DEVICE_AUTHORIZATION: self._authorize, TOKEN: self._issue_token}
        problems = OAuthErrors(base_url, product)
        self._stack = Stack(self._serve, problems, proxies=proxies, on_response=on_response)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        await self._stack(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = self._calls.get(scope["path"])
        if call is None:
            raise NotFound
        note_route(scope, scope["path"])
        if scope["method"] != "POST":
            raise MethodNotAllowed("POST")
        form = await read_form(scope, receive)
        if form.get("client_id") != CLIENT_ID:
            raise OAuthRefusal("invalid_client", "There is no client with this client_id.")
        await send_answer(send, await call(scope, form))

    async def _authorize(self, scope: Scope, form: Form) -> Answer:
        """Answer section 3.2: both codes, and where the person enters theirs."""
        request = check_request(
            form.get("description"), form.get("scope"), form.get("host"), self._catalog
        )
        started = await self._run(scope, partial(self._start, scope, request))
        complete = f"{self._page}?user_code={started.user_code}"
        return _answer(
            200,
            device_code=started.device_code.reveal(),
            user_code=started.user_code,
            verification_uri=self._page,
            verification_uri_complete=complete,
            expires_in=int(LIFETIME.total_seconds()),
            interval=int(INTERVAL.total_seconds()),
        )

    def _start(self, scope: Scope, request: DeviceRequest) -> StartedLogin:
        return self._logins.start(request, _origin_of(scope), client_of(scope).agent)

    async def _issue_token(self, scope: Scope, form: Form) -> Answer:
        """Answer section 3.5: the key's token, or why there is none."""
        if form.get("grant_type") != GRANT_TYPE:
            raise OAuthRefusal("unsupported_grant_type", f"The grant_type must be {GRANT_TYPE}.")
        device_code = form.get("device_code")
        if not device_code:
            raise InvalidRequest("The form needs the field `device_code`.")
        poll = partial(self._logins.poll, Secret(device_code), _origin_of(scope))
        polled = await self._run(scope, poll)
        if isinstance(polled, PollRefusal):
            return _answer(400, error=polled.error, error_description=polled.reason)
        note_caller(scope, key_id=polled.key.id, workspace_id=polled.key.workspace_id)
        return _token_answer(polled)

    async def _run(self, scope: Scope, call: Callable[[], T]) -> T:
        # The terminal isn't signed in yet, so each address has its share.
        return await self._threads.run(address_subject(client_of(scope).address), call)


def _token_answer(created: CreatedKey) -> Answer:
    key, token = created.key, created.token
    members: dict[str, object] = {"token_type": "Bearer", "scope": str(key.scopes)}
    if key.expires_at is not None:
        members["expires_in"] = int((key.expires_at - key.created_at).total_seconds())
    return _answer(200, access_token="" if token is None else token.reveal(), **members)


def _answer(status: int, **members: object) -> Answer:
    body = json.dumps(members, separators=(",", ":")).encode("ascii")
    return Answer(status, (_JSON, NO_STORE), body)


def _origin_of(scope: Scope) -> Origin:
    client = client_of(scope)
    return Origin(client.address or None, client.request_id)


def _error_of(error: KeysteadError) -> str:
    if isinstance(error, OAuthRefusal):
        return error.error
    if isinstance(error, Invalid) and error.errors[0].pointer == "/scope":
        return "invalid_scope"
    return _ERRORS.get(STATUS[error.code], "invalid_request")
