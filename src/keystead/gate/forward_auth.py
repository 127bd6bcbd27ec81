"""`/forward-auth/{scope}`: may this request pass? For gateways, which ask before they forward a client's request.

The first segment of the raw path names the scope and decides alone: neither the method, the query, the body nor the
rest of the path matters, because some gateways copy those from their client's request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Final

from keystead.domain.errors import InsufficientScope, KeysteadError
from keystead.domain.verification import MALFORMED, Denied, Verification
from keystead.gate.answers import ForwardAuthAnswers
from keystead.gate.fast_path import ForwardAuthFastPath, RequiredScopes
from keystead.http.asgi import Answer, Message, Receive, Scope, Send, send_answer
from keystead.http.bearer import plain_challenge, read_bearer
from keystead.http.client import Network, client_of, note_caller, note_denial, note_route
from keystead.http.problems import STATUS, Problems
from keystead.http.redaction import places, type_names
from keystead.http.stack import OnResponse, Stack, method_label
from keystead.logger import Logger
from keystead.services import Services

PREFIX: Final = "/forward-auth"
ROUTE: Final = f"{PREFIX}/{{scope}}"

_GATEWAY: Final = (b"x-keystead-gateway", b"nginx")
_DENIED_STATUS: Final = b"x-keystead-denied-status"
_UNBOUNDED: Final = 10**18
"""The announced body is that of the gateway's client; it never arrives here."""
_OUTCOME: Final = "keystead.forward_auth"
_NO_BODY: Final[Message] = {"type": "http.response.body", "body": b""}

_log: Final = Logger("keystead.gate")


class ForwardAuth:
    """The ASGI application for gateways. It brings its own `Stack`, so that it can answer before it (`fast_path`)."""

    def __init__(
        self,
        services: Services,
        problems: Problems,
        *,
        proxies: Sequence[Network] = (),
        on_response: OnResponse | None = None,
    ) -> None:
        self._verifier, self._problems = services.verifier, problems
        self._on_response = on_response
        self._scopes = RequiredScopes(services.keys.catalog, PREFIX)
        self._fast_path = ForwardAuthFastPath(self._scopes, proxies)
        self._answers = ForwardAuthAnswers(services.keys.now, problems.server)
        self._stack = Stack(
            self._authorize,
            problems,
            proxies=proxies,
            on_response=on_response,
            max_body=_UNBOUNDED,
            foreign=True,
            refuse=self._refuse,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that may pass; leave every other one to the stack."""
        started = perf_counter() if self._on_response else 0.0
        start: Message | None = None
        request = self._fast_path.read(scope)
        if request is not None:
            token, required, (address, agent, source) = request
            # A token is verified once: each verification counts as a use and against the rate limit. So a denial or a
            # failure goes to the stack with the request, and `_outcome` takes it from there.
            try:
                verdict = await self._verifier.verify_on_loop(
                    token, required, address=address, agent=agent, source=source
                )
                if isinstance(verdict, Denied):
                    scope["state"][_OUTCOME] = token, verdict
                else:
                    start = self._answers.start(verdict.principal)
            except Exception as error:  # noqa: BLE001 - raised again behind the stack, which answers and logs it
                scope["state"][_OUTCOME] = token, error
        if start is None:
            await self._stack(scope, receive, send)
            return
        try:
            await send(start)
            await send(_NO_BODY)
        except Exception as error:  # noqa: BLE001 - the server prints every exception that reaches it
            _log.error("failure", errors=type_names(error), places=places(error))
        if self._on_response is not None:
            self._on_response(method_label(scope), ROUTE, 200, perf_counter() - started)

    async def _authorize(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take every step that may refuse, in order. Runs behind the stack."""
        note_route(scope, ROUTE)
        token = read_bearer(scope["headers"])
        required = self._required(scope)
        verdict = await self._outcome(scope, token, required)
        if isinstance(verdict, Denied):
            note_caller(scope, key_id=verdict.key_id, workspace_id=verdict.workspace_id)
            note_denial(scope, verdict.reason)
            raise verdict.refusal(required)
        principal = verdict.principal
        note_caller(scope, key_id=principal.id, workspace_id=principal.workspace_id)
        await send_answer(send, Answer(200, tuple(self._answers.fields(principal)), b""))

    def _required(self, scope: Scope) -> str | None:
        try:
            return self._scopes[scope["raw_path"]]
        except KeyError:
            note_denial(scope, "unknown_scope")
            raise InsufficientScope("", "The gateway requires an unknown scope.") from None

    async def _outcome(self, scope: Scope, token: str, required: str | None) -> Verification:
        """Return the verdict of the fast path, or raise its failure; verify the token if the fast path did not."""
        verified, outcome = scope["state"].get(_OUTCOME, ("", MALFORMED))
        if verified == token:
            if isinstance(outcome, Exception):
                raise outcome
            verdict: Verification = outcome
            return verdict
        client = client_of(scope)
        return await self._verifier.verify_on_loop(
            token,
            required,
            address=client.address or None,
            agent=client.agent or None,
            # The peer is the gateway, so the client is only what a configured proxy reports.
            source=client.forwarded_source,
        )

    def _refuse(self, scope: Scope, error: KeysteadError) -> Answer:
        """Answer a refusal with a status that gateways forward.

        A gateway takes 400 for its own error, so that becomes 401. nginx's `auth_request` turns everything except 401
        and 403 into 500, so it gets 403, with the real status in a field.
        """
        status = 401 if STATUS[error.code] == 400 else STATUS[error.code]
        if status != 401 and _GATEWAY in scope["headers"]:
            return _with(self._problems.recast(error, 403), _DENIED_STATUS, str(status))
        if status == STATUS[error.code]:
            return self._problems.answer(error)
        answer = self._problems.recast(error, status)
        challenged = any(name == b"www-authenticate" for name, _ in answer.headers)
        if challenged:
            return answer
        return _with(answer, b"www-authenticate", plain_challenge(self._problems.product.realm))


def _with(answer: Answer, name: bytes, value: str) -> Answer:
    return replace(answer, headers=(*answer.headers, (name, value.encode("ascii"))))
