"""`POST /introspect` (RFC 7662): is this token active? For the product's services, with a credential of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic, perf_counter
from typing import Final

from keystead.domain.credentials import ActingCredential, CredentialKind
from keystead.domain.errors import InvalidToken, KeysteadError, NotFound, Unauthenticated
from keystead.gate.answers import IntrospectionAnswers, OAuthProblems, read_token
from keystead.gate.fast_path import FormFastPath
from keystead.http import basic
from keystead.http.asgi import Answer, Message, Receive, Scope, Send, send_answer
from keystead.http.body import BODY_SECONDS, FORM_LIMIT, BoundedBody
from keystead.http.client import Network, note_caller, note_route
from keystead.http.problems import MethodNotAllowed
from keystead.http.redaction import places, type_names
from keystead.http.stack import OnResponse, Stack
from keystead.logger import Logger
from keystead.services import Services
from keystead.services.verifier import ActiveToken

PATH: Final = "/introspect"
LOG_SECONDS: Final = 60.0
"""Log each calling credential at most once per this many seconds."""

_OUTCOME: Final = "keystead.introspection"

_log: Final = Logger("keystead.gate")


@dataclass(slots=True)
class _Outcome:
    """How far a request came: its caller, the token if it is active, or the error that stopped it."""

    caller: ActingCredential | None = None
    token: ActiveToken | None = None
    failure: Exception | None = None


class Introspection:
    """The ASGI application for services. It brings its own `Stack`, so that it can answer before it (`fast_path`)."""

    def __init__(
        self,
        services: Services,
        base_url: str,
        *,
        proxies: Sequence[Network] = (),
        on_response: OnResponse | None = None,
    ) -> None:
        """`base_url`: where the pages of problems are, without a slash at the end."""
        self._services, self._problems = services, OAuthProblems(base_url)
        self._on_response = on_response
        self._fast_path = FormFastPath(PATH, proxies)
        self._answers = IntrospectionAnswers()
        self._log_due: dict[str, float] = {}
        self._stack = Stack(
            self._introspect, self._problems, proxies=proxies, on_response=on_response
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ordinary request; leave every other one to the stack."""
        if not self._fast_path.accepts(scope):
            await self._stack(scope, receive, send)
            return
        started = perf_counter()
        body = _RereadableBody(receive)
        outcome = await self._outcome(scope, body.receive)
        # The outcome goes along, so that the token is verified, and its use counted, only once.
        if outcome.failure is not None or outcome.caller is None or self._is_due(outcome.caller):
            scope["state"][_OUTCOME] = outcome
            await self._stack(scope, body.receive, send)
            return
        try:
            await self._answers.send(outcome.token, send)
        except Exception as error:  # noqa: BLE001 - the server prints every exception that reaches it
            _log.error("failure", errors=type_names(error), places=places(error))
        if self._on_response is not None:
            self._on_response("POST", PATH, 200, perf_counter() - started)

    async def _outcome(self, scope: Scope, receive: Receive) -> _Outcome:
        """Authenticate the caller, then read the form, then look the token up: in this order on both paths."""
        outcome = _Outcome()
        try:
            outcome.caller = await self._authenticate(scope)
            token = await read_token(scope, receive)
            outcome.token = await self._services.introspection.introspect(token)
        except Exception as error:  # noqa: BLE001 - raised again behind the stack, which answers and logs it
            outcome.failure = error
        return outcome

    async def _authenticate(self, scope: Scope) -> ActingCredential:
        presented = basic.read_client(scope["headers"])
        caller = await self._services.credential_verifier.verify(presented.token, *CredentialKind)
        if presented.client_id not in {None, caller.id}:
            raise InvalidToken
        return caller

    def _is_due(self, caller: ActingCredential) -> bool:
        """Return whether to log this caller again; only the log shows which credentials are in use."""
        now = monotonic()
        if now < self._log_due.get(caller.id, now):
            return False
        self._log_due[caller.id] = now + LOG_SECONDS
        return True

    async def _introspect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take every step that may refuse, in order. Runs behind the stack."""
        if scope["path"] != PATH:
            raise NotFound
        note_route(scope, PATH)
        if scope["method"] != "POST":
            raise MethodNotAllowed("POST")
        outcome = scope["state"].get(_OUTCOME) or await self._outcome(scope, receive)
        if outcome.caller is not None:
            note_caller(scope, key_id=outcome.caller.id, workspace_id=None)
        elif isinstance(outcome.failure, Unauthenticated | InvalidToken):
            await send_answer(send, self._challenged(outcome.failure))
            return
        if outcome.failure is not None:
            raise outcome.failure
        await self._answers.send(outcome.token, send)

    def _challenged(self, refusal: KeysteadError) -> Answer:
        """Return the answer with a challenge for Basic as well, which only this call accepts."""
        answer = self._problems.answer(refusal)
        return replace(answer, headers=(*answer.headers, basic.CHALLENGE))


class _RereadableBody:
    """A bounded body for two readers: after its end, the stack finds it empty instead of waiting for the client."""

    __slots__ = ("_ended", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = BoundedBody(receive, FORM_LIMIT, BODY_SECONDS).receive
        self._ended = False

    async def receive(self) -> Message:
        """Return the next message of the server."""
        if self._ended:
            return {"type": "http.request", "body": b"", "more_body": False}
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        return message
