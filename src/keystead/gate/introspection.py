"""`POST /introspect` (RFC 7662): is this token good? For the product's services, with a credential of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic, perf_counter
from typing import Final

import structlog

from keystead.domain.credentials import ActingCredential, CredentialKind
from keystead.domain.errors import InvalidToken, KeysteadError, NotFound, Unauthenticated
from keystead.gate.oauth import MAX_BODY, OAuthProblems, read_form
from keystead.gate.plain_form import PlainForm
from keystead.gate.standings import Standings
from keystead.http import basic
from keystead.http.asgi import Answer, Message, Receive, Scope, Send, send_answer
from keystead.http.body import BoundedBody
from keystead.http.client import Network
from keystead.http.failures import places, type_names
from keystead.http.problems import MethodNotAllowed
from keystead.http.record import note_caller, note_route
from keystead.http.stack import BODY_SECONDS, OnResponse, Stack
from keystead.services import Services
from keystead.services.introspection import Standing

PATH: Final = "/introspect"
LINE_SECONDS: Final = 60.0
"""So often the log has a line of a credential that asks all the time."""

_OUTCOME: Final = "keystead.introspection"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("keystead.gate")


@dataclass(slots=True)
class _Outcome:
    """How far a question came: who asked, what was found, or what it was refused with."""

    caller: ActingCredential | None = None
    found: Standing | None = None
    failure: Exception | None = None


class Introspection:
    """An ASGI application of its own, for a place beside the stack: it brings its `Stack` along.

    What is plainly asked is answered without it, at a fraction of the cost; whatever is refused, or looks unusual, goes
    through it: docs/decisions/0016-the-lean-path.md.
    """

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
        self._plain = PlainForm(PATH, proxies)
        self._standings = Standings()
        self._told: dict[str, float] = {}
        self._stack = Stack(self._judge, self._problems, proxies=proxies, on_response=on_response)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: http."""
        if not self._plain.is_plain(scope):
            await self._stack(scope, receive, send)
            return
        started = perf_counter()
        body = _Body(receive)
        outcome = await self._outcome(scope, body.receive)
        if outcome.failure is not None or outcome.caller is None or self._is_due(outcome.caller):
            scope["state"][_OUTCOME] = outcome
            await self._stack(scope, body.receive, send)
            return
        await self._answer(outcome.found, send)
        if self._on_response is not None:
            self._on_response("POST", PATH, 200, perf_counter() - started)

    async def _outcome(self, scope: Scope, receive: Receive) -> _Outcome:
        """Who asks, then what is sent, then what that is."""
        outcome = _Outcome()
        try:
            outcome.caller = await self._admit(scope)
            form = await read_form(scope, receive)
            outcome.found = await self._services.introspection.introspect(form["token"])
        except Exception as error:  # noqa: BLE001 - raised again behind the stack, which answers and logs it
            outcome.failure = error
        return outcome

    async def _admit(self, scope: Scope) -> ActingCredential:
        presented = basic.read_client(scope["headers"])
        caller = await self._services.credential_verifier.verify(presented.token, *CredentialKind)
        if presented.client_id not in {None, caller.id}:
            raise InvalidToken
        return caller

    def _is_due(self, caller: ActingCredential) -> bool:
        """Whether the log is to have a line of this caller again: which credentials are in use stands nowhere else."""
        now = monotonic()
        if now < self._told.get(caller.id, now):
            return False
        self._told[caller.id] = now + LINE_SECONDS
        return True

    async def _answer(self, found: Standing | None, send: Send) -> None:
        """Without the stack, nobody behind this would stop an exception before the server prints it."""
        try:
            await self._standings.tell(found, send)
        except Exception as error:  # noqa: BLE001
            _log.error("failure", errors=type_names(error), places=places(error))

    async def _judge(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Behind the stack: every step that may refuse, in order."""
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
        await self._standings.tell(outcome.found, send)

    def _challenged(self, refusal: KeysteadError) -> Answer:
        """Both ways of sending a credential, which only this call has."""
        answer = self._problems.answer(refusal)
        return replace(answer, headers=(*answer.headers, basic.CHALLENGE))


class _Body:
    """The body within its bounds; once it was read whole, whoever reads again finds it at its end."""

    __slots__ = ("_ended", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = BoundedBody(receive, MAX_BODY, BODY_SECONDS).receive
        self._ended = False

    async def receive(self) -> Message:
        """The next message of the server."""
        if self._ended:
            return {"type": "http.request", "body": b"", "more_body": False}
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        return message
