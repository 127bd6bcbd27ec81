"""`/forward-auth/{scope}`: may this request pass? For gateways, which ask about requests that are somebody else's.

The scope is the first segment of the raw path, and nothing else decides: neither method, query, body nor the rest of
the path, which some gateways fill with what their client sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Final

import structlog

from keystead.domain.errors import InsufficientScope, KeysteadError
from keystead.domain.verification import MALFORMED, Denied, Verification
from keystead.gate.answers import Identities
from keystead.gate.fast_path import Plain, RequiredScopes
from keystead.http.asgi import Answer, Message, Receive, Scope, Send, send_answer
from keystead.http.bearer import PLAIN_CHALLENGE, read_bearer
from keystead.http.client import Network
from keystead.http.failures import places, type_names
from keystead.http.problems import STATUS, Problems
from keystead.http.record import client_of, note_caller, note_denial, note_route
from keystead.http.stack import OnResponse, Stack, method_label
from keystead.services import Services

PREFIX: Final = "/forward-auth"
ROUTE: Final = f"{PREFIX}/{{scope}}"

_GATEWAY: Final = (b"x-keystead-gateway", b"nginx")
_DENIED_STATUS: Final = b"x-keystead-denied-status"
_ENDLESS: Final = 10**18
"""A body is a client's, and is not for us: what is announced of it says nothing."""
_OUTCOME: Final = "keystead.forward_auth"
_NO_BODY: Final[Message] = {"type": "http.response.body", "body": b""}

_log: structlog.stdlib.BoundLogger = structlog.get_logger("keystead.gate")


class ForwardAuth:
    """An ASGI application of its own, for the outermost place: it brings its `Stack` along.

    What is plainly good is answered without it, at a fraction of the cost; whatever is refused, or looks unusual, goes
    through it: docs/decisions/0016-the-lean-path.md.
    """

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
        self._plain = Plain(self._scopes, proxies)
        self._identities = Identities(services.keys.now)
        self._stack = Stack(
            self._judge,
            problems,
            proxies=proxies,
            on_response=on_response,
            max_body=_ENDLESS,
            foreign=True,
            refuse=self._refuse,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: http. What may plainly pass is answered here; the stack gets all else, with what was found so far."""
        began = perf_counter() if self._on_response else 0.0
        start: Message | None = None
        asked = self._plain.read(scope)
        if asked is not None:
            text, required, address, agent = asked
            try:
                verdict = await self._verifier.verify_on_loop(
                    text, required, address=address, agent=agent
                )
                if isinstance(verdict, Denied):
                    scope["state"][_OUTCOME] = text, verdict
                else:
                    start = self._identities.start(verdict.principal)
            except Exception as error:  # noqa: BLE001 - raised again behind the stack, which answers and logs it
                scope["state"][_OUTCOME] = text, error
        if start is None:
            await self._stack(scope, receive, send)
            return
        try:
            await send(start)
            await send(_NO_BODY)
        except Exception as error:  # noqa: BLE001 - the server prints what leaves it
            _log.error("failure", errors=type_names(error), places=places(error))
        if self._on_response is not None:
            self._on_response(method_label(scope), ROUTE, 200, perf_counter() - began)

    async def _judge(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Behind the stack: every step that may refuse, in order."""
        note_route(scope, ROUTE)
        text = read_bearer(scope["headers"])
        required = self._required(scope)
        verdict = await self._outcome(scope, text, required)
        if isinstance(verdict, Denied):
            note_caller(scope, key_id=verdict.key_id, workspace_id=verdict.workspace_id)
            note_denial(scope, verdict.reason)
            raise verdict.refusal(required)
        principal = verdict.principal
        note_caller(scope, key_id=principal.id, workspace_id=principal.workspace_id)
        await send_answer(send, Answer(200, tuple(self._identities.fields(principal)), b""))

    def _required(self, scope: Scope) -> str | None:
        try:
            return self._scopes[scope["raw_path"]]
        except KeyError:
            note_denial(scope, "unknown_scope")
            raise InsufficientScope("", "The gateway asks for a scope that there is not.") from None

    async def _outcome(self, scope: Scope, text: str, required: str | None) -> Verification:
        """The verdict, or the failure, of the one verification that a token gets."""
        known: tuple[str, Verification | Exception] = scope["state"].get(_OUTCOME, ("", MALFORMED))
        if known[0] == text:
            if isinstance(known[1], Exception):
                raise known[1]
            return known[1]
        client = client_of(scope)
        return await self._verifier.verify_on_loop(
            text, required, address=client.address or None, agent=client.agent or None
        )

    def _refuse(self, scope: Scope, error: KeysteadError) -> Answer:
        """401 for whatever is wrong with the request; towards nginx 403 for all but 401, and the status in a field.

        A gateway takes 400 for its own fault; `auth_request` of nginx makes 500 of all that it does not know.
        """
        status = 401 if STATUS[error.code] == 400 else STATUS[error.code]
        if status != 401 and _GATEWAY in scope["headers"]:
            return _with(self._problems.recast(error, 403), _DENIED_STATUS, str(status))
        if status == STATUS[error.code]:
            return self._problems.answer(error)
        answer = self._problems.recast(error, status)
        challenged = any(name == b"www-authenticate" for name, _ in answer.headers)
        return answer if challenged else _with(answer, b"www-authenticate", PLAIN_CHALLENGE)


def _with(answer: Answer, name: bytes, value: str) -> Answer:
    return replace(answer, headers=(*answer.headers, (name, value.encode("ascii"))))
