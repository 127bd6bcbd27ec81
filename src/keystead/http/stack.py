"""The outermost layer of the server: every request passes here first, every answer last.

Applications behind it can rely on a checked head, a bounded body and a known client (`client.client_of`). Every answer
gets its request id and safe defaults. No exception leaves it, because the server would print the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from keystead.domain.errors import InvalidRequest, KeysteadError, StorageError
from keystead.http.access_log import log_failure, log_request
from keystead.http.asgi import (
    NO_STORE,
    Answer,
    App,
    Header,
    Message,
    Receive,
    Scope,
    Send,
    send_answer,
)
from keystead.http.body import BODY_SECONDS, MAX_BODY, BoundedBody
from keystead.http.client import Client, Network, RequestRecord, begin_record, fresh_id, read_client
from keystead.http.head import METHODS, Head, check_head
from keystead.http.problems import Internal, Problems

ABANDONED = 499
"""The status in the metrics if the client disconnected before the answer began."""

OnResponse = Callable[[str, str, int, float], None]
"""(method, route template or "", status, seconds). Both texts come from small fixed sets, so they can be labels."""

Refuse = Callable[[Scope, KeysteadError], Answer]
"""The answer to a refusal; for most applications `Problems.answer`."""

_DEFAULTS: tuple[Header, ...] = (
    NO_STORE,
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_HSTS = (b"strict-transport-security", b"max-age=63072000")


class Stack:
    """The middleware around a whole application. X-Forwarded-* and X-Request-Id count only from networks in `proxies`.

    `foreign`: the requests describe another server's, about which a gateway asks (`head.check_head`). `refuse` answers
    all refusals, including those of the head.
    """

    def __init__(
        self,
        app: App,
        problems: Problems,
        *,
        proxies: Sequence[Network] = (),
        on_response: OnResponse | None = None,
        max_body: int = MAX_BODY,
        body_seconds: float = BODY_SECONDS,
        foreign: bool = False,
        refuse: Refuse | None = None,
    ) -> None:
        self._app = app
        self._foreign = foreign
        self._refuse = refuse or (lambda _, error: problems.answer(error))
        self._server = problems.server
        self._proxies, self._on_response = tuple(proxies), on_response
        self._max_body, self._body_seconds = max_body, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, refuse a websocket, pass everything else (lifespan) to the application."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        head = Head(scope["headers"])
        client = self._client(scope, head)
        record = begin_record(scope, client, head)
        reply = _Reply(send, client, self._server)
        body = BoundedBody(receive, self._max_body, self._body_seconds, head.body_length)
        try:
            check_head(scope, head, self._max_body, foreign=self._foreign)
            _require_private(head, client)
            await self._app(scope, body.receive, reply.send)
            if reply.status is None:
                await reply.finish(self._refuse(scope, Internal()))
        except Exception as error:  # noqa: BLE001 - the server prints every exception that reaches it
            await reply.finish(self._answer(scope, error))
        finally:
            self._report(scope, record, reply.status, perf_counter() - started)
        if head.has_body:
            await body.discard()

    def _client(self, scope: Scope, head: Head) -> Client:
        peer = (scope["client"] or ("", 0))[0]
        return read_client(peer, scope["scheme"], head, self._proxies, fresh_id())

    def _answer(self, scope: Scope, error: Exception) -> Answer:
        if not isinstance(error, KeysteadError) or isinstance(error, StorageError):
            log_failure(scope, error)
        return self._refuse(scope, error if isinstance(error, KeysteadError) else Internal())

    def _report(
        self, scope: Scope, record: RequestRecord, status: int | None, seconds: float
    ) -> None:
        if not record.is_routine or status is None or status >= 400:
            log_request(scope, record, status, seconds)
        if self._on_response is not None:
            route = record.route or str(getattr(scope.get("route"), "path", ""))
            self._on_response(method_label(scope), route, status or ABANDONED, seconds)


def method_label(scope: Scope) -> str:
    """Return the method of a request for the metrics; all methods that clients make up share one label."""
    method: str = scope["method"]
    return method if method in METHODS else "other"


class _Reply:
    """A `send` that completes the header fields of the answer and remembers whether it has begun."""

    __slots__ = ("_client", "_send", "_server", "status")

    def __init__(self, send: Send, client: Client, server: Header) -> None:
        self._send, self._client, self._server = send, client, server
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = _completed(message.get("headers", ()), self._client, self._server)
            message = {**message, "headers": headers}
        await self._send(message)

    async def finish(self, answer: Answer) -> None:
        """Send `answer`, unless another one has begun: then the server cuts the connection."""
        if self.status is None:
            await send_answer(self.send, answer)


def _completed(headers: Sequence[Header], client: Client, server: Header) -> list[Header]:
    fields = dict(headers)
    completed = [header for header in headers if header[0] != b"server"]
    completed += [default for default in _DEFAULTS if default[0] not in fields]
    completed += [server, (b"x-request-id", client.request_id.encode("ascii"))]
    return [*completed, _HSTS] if client.secure else completed


def _require_private(head: Head, client: Client) -> None:
    # Refused, not redirected: a redirect would hide that the credential has already crossed the network in clear text.
    if not client.private and head.values(b"authorization"):
        raise InvalidRequest(
            "Credentials are refused over plain HTTP. Use https, and replace this key."
        )
