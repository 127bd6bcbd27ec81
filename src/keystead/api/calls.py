"""The path of every call: credentials, scopes, body, parameters, and only then the use case.

This module keeps the order of refusal: 400 for the head, 401, 403, then the body's size, type and syntax, then 404
and 412, and only then 409 or 422. It enforces what the operation declares, which is what the OpenAPI document says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from functools import partial
from keyword import iskeyword
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError

from keystead.api.bodies.body import Body
from keystead.api.operations import (
    EXPIRES_HEADER,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_PATTERN,
    OPERATOR,
    WITHIN,
    WORKSPACE,
    Operation,
    Reply,
    Streamed,
    Way,
)
from keystead.domain.credentials import ActingCredential
from keystead.domain.errors import FieldError, Invalid, InvalidRequest
from keystead.domain.events import Origin
from keystead.domain.ids import WorkspaceId, is_id
from keystead.domain.instants import format_instant
from keystead.domain.keys import EXPIRES_SOON
from keystead.domain.principals import Principal
from keystead.domain.verification import Denied
from keystead.domain.versions import IfMatch, etag, require_match
from keystead.http.asgi import NO_STORE, Answer, Header, Receive, Scope, Send, send_answer
from keystead.http.bearer import bearer_of
from keystead.http.body import KIB, LargeBodies, read_body, require_unencoded
from keystead.http.client import Client, RequestRecord, record_of
from keystead.http.head import Head
from keystead.http.json_body import (
    MAX_PARAMETERS,
    decode_model,
    query_pointer,
    require_json,
    sentence_of,
)
from keystead.http.paging import Page, read_page
from keystead.services import Services
from keystead.services.execution import TakesLong

INLINE_BODY: Final = 4 * KIB
"""The largest body, in bytes, that the event loop decodes itself, and whose call is not slow.

A larger one would delay all other requests, or all other writes: its documents are indexed, for example.
"""

KEY_ROOT: Final = "/v1"
_IDEMPOTENCY_KEY = re.compile(IDEMPOTENCY_PATTERN)
_EXPIRES = EXPIRES_HEADER.lower().encode("ascii")
_JSON: Final[Header] = (b"content-type", b"application/json")

P = TypeVar("P", str, int)
Path = Mapping[str, str]


class Call(NamedTuple):
    """A call within a workspace: by a live key that has the scopes, or by an operator."""

    services: Services
    principal: Principal
    client: Client
    path: str
    idempotency_key: str | None
    if_match: IfMatch | None
    root: str = KEY_ROOT
    """The path below which the workspace's resources are."""
    at_once: bool = True
    """Whether a read that could hold up the event loop raises TakesLong, to run again on a thread."""

    @property
    def owner(self) -> str:
        """The workspace of a key, or the operator's credential: each has its share of the server's threads."""
        return self.principal.workspace_id if self.principal.is_key else self.principal.id

    @property
    def origin(self) -> Origin:
        """The origin of the changes that this call makes."""
        return _origin_of(self.client)


class OperatorCall(NamedTuple):
    """A call with a live operator's credential."""

    services: Services
    credential: ActingCredential
    client: Client
    path: str
    if_match: IfMatch | None
    base_url: str
    at_once: bool = True

    @property
    def owner(self) -> str:
        """The credential, which has its share of the server's threads."""
        return self.credential.id

    @property
    def origin(self) -> Origin:
        """The origin of the changes that this call makes."""
        return _origin_of(self.client)


def _origin_of(client: Client) -> Origin:
    return Origin(client.address or None, client.request_id)


def page_of(
    call: Call, kind: type[P], limit: str | None, cursor: str | None, **filters: str | None
) -> Page[P]:
    """Return the page that a call asks for; `kind` is the type of the list's positions. Invalid or InvalidCursor."""
    return read_page(
        kind,
        workspace_id=call.principal.workspace_id,
        path=call.path,
        filters=filters,
        limit=limit,
        cursor=cursor,
    )


class Endpoint:
    """An operation at work: admits its calls, reads what they send, and answers them."""

    def __init__(
        self,
        operation: Operation,
        services: Services,
        bodies: LargeBodies,
        base_url: str,
        operator: ActingCredential | None = None,
    ) -> None:
        """`operator` makes every operator's call; without it, each needs a credential."""
        self.operation, self._operator = operation, operator
        self._services, self._bodies, self._base_url = services, bodies, base_url
        self._required = operation.scopes[0] if operation.scopes else None
        self._is_within = operation.security == OPERATOR and operation.takes is Call
        self._query = {
            parameter.name: None
            if parameter.type is str
            else TypeAdapter(parameter.type).validate_python
            for parameter in operation.query
        }
        execution = services.execution
        self._read, self._slow = execution.run_read, execution.run_slow
        ways = {Way.READ: execution.run_read, Way.WRITE: execution.run_write}
        self._run = ways.get(operation.way, execution.run_slow)

    async def answer(self, scope: Scope, receive: Receive, send: Send, path: Path) -> None:
        """Answer one request, whose path has these parameters. Raises the refusal of any other."""
        record = record_of(scope)
        record.route = self.operation.path
        if self.operation.security != OPERATOR:
            call: Call | OperatorCall = await self._admit(scope, record)
        elif self._is_within:
            call = await self._admit_within(scope, record, WorkspaceId(path[WORKSPACE.name]))
        else:
            call = await self._admit_operator(scope, record)
        model = self.operation.body
        if model is None:
            reply, body = await self._perform(call, scope, path)
        else:
            decode = partial(self._decode, model, call, scope, receive)
            async with self._bodies.held(call.owner, _content_length(record.head)):
                reply, body = await self._perform(call, scope, path, decode)
        if isinstance(reply, Streamed):
            await self._stream(call, scope, send, reply.parts)
            return
        status = reply.status or self.operation.statuses[0]
        await send_answer(send, Answer(status, self._headers(call, reply), body))

    async def _admit(self, scope: Scope, record: RequestRecord) -> Call:
        """Verify the request's key. Unauthenticated, InvalidToken, InsufficientScope or InvalidRequest."""
        token = bearer_of(scope)
        operation, client = self.operation, record.client
        idempotency_key = _read_idempotency_key(record.head) if operation.idempotent else None
        if_match = _read_if_match(record.head) if operation.if_match else None
        verdict = await self._services.verifier.verify_on_loop(
            token,
            self._required,
            address=client.address or None,
            agent=client.agent or None,
            source=client.source,
        )
        if isinstance(verdict, Denied):
            record.key_id, record.workspace_id = verdict.key_id, verdict.workspace_id
            record.denied = verdict.reason
            raise verdict.refusal(self._required)
        principal = verdict.principal
        record.key_id, record.workspace_id = principal.id, principal.workspace_id
        for also in operation.scopes[1:]:
            principal.require(also)
        return Call(self._services, principal, client, scope["path"], idempotency_key, if_match)

    async def _admit_operator(self, scope: Scope, record: RequestRecord) -> OperatorCall:
        """Verify the request's credential. Unauthenticated, InvalidToken or InvalidRequest."""
        credential = self._operator
        if credential is None:
            credential = await self._services.credential_verifier.verify(bearer_of(scope))
        record.key_id = credential.id
        if_match = _read_if_match(record.head) if self.operation.if_match else None
        path = scope["path"]
        return OperatorCall(
            self._services, credential, record.client, path, if_match, self._base_url
        )

    async def _admit_within(
        self, scope: Scope, record: RequestRecord, workspace_id: WorkspaceId
    ) -> Call:
        """Like `_admit_operator`, for a call within that workspace. Whether it exists is decided after the body."""
        operator = await self._admit_operator(scope, record)
        services, credential, client, path, if_match, *_ = operator
        is_idempotent = self.operation.idempotent
        idempotency_key = _read_idempotency_key(record.head) if is_idempotent else None
        if is_id("ws", workspace_id):
            record.workspace_id = workspace_id
        principal, root = credential.within(workspace_id), WITHIN.format(workspace=workspace_id)
        return Call(services, principal, client, path, idempotency_key, if_match, root)

    async def _perform(
        self,
        call: Call | OperatorCall,
        scope: Scope,
        path: Path,
        decode: Callable[[], Awaitable[Body | None]] | None = None,
    ) -> tuple[Reply[Any] | Streamed, bytes]:
        """Run the use case. Returns its reply and the body of the response."""
        try:
            arguments: dict[str, Any] = dict(path)
            if self._is_within:
                del arguments[WORKSPACE.name]
            if self.operation.idempotent is None:
                _forbid_idempotency_key(record_of(scope).head)
            # The body is read before the call takes its turn: a slow upload holds no thread.
            if decode is not None and (body := await decode()) is not None:
                arguments["body"] = body
            if scope["query_string"]:
                arguments |= _read_query(scope["query_string"], self._query)
            is_slow = self.operation.slow_with in arguments or (
                decode is not None and _is_large(record_of(scope).head)
            )
            run = self._slow if is_slow else self._run
            try:
                return await run(self._share_of(call), partial(self._handle, call, arguments))
            except TakesLong:
                unhurried = call._replace(at_once=False)
                return await self._slow(call.owner, partial(self._handle, unhurried, arguments))
        except Invalid:
            await self._require_target(call, path)
            raise

    def _share_of(self, call: Call | OperatorCall) -> Hashable:
        # A leaked key could otherwise keep its own revocation waiting, by a flood of writes.
        return ("revocation", call.owner) if self.operation.revokes else call.owner

    async def _stream(
        self, call: Call | OperatorCall, scope: Scope, send: Send, parts: Iterator[bytes]
    ) -> None:
        """Send the parts, each made in the share of the call's owner. A failure cuts the connection.

        So does a revocation: a reader that takes its time gets nothing that is read after it.
        """
        make = partial(self._slow, call.owner, partial(next, parts, None))
        # HEAD makes none, as the first may record an event. Otherwise the first's refusal still is the response.
        part = None if scope["method"] == "HEAD" else await make()
        media_type = (self.operation.streams or "").encode("ascii")
        headers = [(b"content-type", media_type), NO_STORE]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while part is not None:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await self._admit_operator(scope, record_of(scope))
            part = await make()
        await send({"type": "http.response.body", "body": b""})

    async def _decode(
        self, model: type[Body], call: Call | OperatorCall, scope: Scope, receive: Receive
    ) -> Body | None:
        """Return the body as a `model`; None if it is optional and absent.

        Raises TooLarge, UnsupportedMediaType, InvalidRequest or Invalid. A large body is parsed within the share of the
        call's owner.
        """
        operation, head = self.operation, record_of(scope).head
        data = await read_body(receive, operation.max_body, _content_length(head))
        if not data and not operation.body_required:
            return None
        require_unencoded(scope["headers"])
        require_json(head.first(b"content-type"))
        decode = partial(decode_model, model, data, operation.max_values)
        if len(data) <= INLINE_BODY:
            return decode()
        return await self._bodies.parse(call.owner, decode, len(data))

    async def _require_target(self, call: Call | OperatorCall, path: Path) -> None:
        """Raise NotFound or ChangedMeanwhile: 404 and 412 come before the 422 that is about to be sent."""
        if self._is_within or self.operation.find_version is not None:
            version = await self._read(call.owner, partial(self._find_version, call, path))
            if self.operation.if_match:
                require_match(call.if_match, version)

    def _find_version(self, call: Call | OperatorCall, path: Path) -> int | None:
        self._require_workspace(call)
        find = self.operation.find_version
        return None if find is None else find(call, path)

    def _handle(
        self, call: Call | OperatorCall, arguments: Mapping[str, Any]
    ) -> tuple[Reply[Any] | Streamed, bytes]:
        self._require_workspace(call)
        # Serialized where the use case ran, so that a large response does not delay the event loop.
        reply = self.operation.handler(call, **arguments)
        if isinstance(reply, Streamed) or reply.body is None:
            return reply, b""
        return reply, reply.body.to_json()

    def _require_workspace(self, call: Call | OperatorCall) -> None:
        """Raise NotFound for an operator's call within a workspace that doesn't exist: a list of it would be empty."""
        if self._is_within and isinstance(call, Call):
            call.services.workspaces.get(call.principal.workspace_id)

    def _headers(self, call: Call | OperatorCall, reply: Reply[Any]) -> tuple[Header, ...]:
        headers = [] if reply.body is None else [_JSON]
        if reply.version is not None:
            headers.append((b"etag", etag(reply.version).encode("ascii")))
        if reply.location is not None:
            headers.append((b"location", reply.location.encode("ascii")))
        expires_at = call.principal.expires_at if isinstance(call, Call) else None
        if expires_at and expires_at - self._services.keys.now() <= EXPIRES_SOON:
            headers.append((_EXPIRES, format_instant(expires_at).encode("ascii")))
        return tuple(headers)


def _read_query(query: bytes, known: Mapping[str, Callable[[Any], Any] | None]) -> dict[str, Any]:
    """Return the parameters of a query. Invalid names all that are unknown, repeated or not of their type."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    names = [name for name, _ in pairs]
    counts = Counter(names) if len(set(names)) < len(names) else {}
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, text in pairs:
        if name not in known:
            faults[name] = "is an unknown parameter"
        elif counts and counts[name] > 1:
            faults[name] = "must be sent only once"
        else:
            read = known[name]
            try:
                values[_argument(name)] = text if read is None else read(text)
            except ValidationError as error:
                faults[name] = sentence_of(error.errors(include_url=False)[0])
    if faults:
        refused = sorted(faults.items())[:MAX_PARAMETERS]
        raise Invalid([FieldError(query_pointer(name), sentence) for name, sentence in refused])
    return values


def _argument(name: str) -> str:
    """Return the name of a handler's argument for a parameter: `from` is a keyword of Python."""
    return f"{name}_" if iskeyword(name) else name


def _content_length(head: Head) -> int | None:
    length = head.first(b"content-length")
    return int(length) if length else None


def _is_large(head: Head) -> bool:
    return head.has_body and (head.body_length is None or head.body_length > INLINE_BODY)


def _read_if_match(head: Head) -> IfMatch | None:
    fields = [field.decode("latin-1") for field in head.values(b"if-match")]
    return IfMatch.parse(fields) if fields else None


def _forbid_idempotency_key(head: Head) -> None:
    if head.first(b"idempotency-key") is not None:
        raise Invalid.field(
            f"header:{IDEMPOTENCY_KEY.name}",
            "must not be sent: repeat the call if its answer is lost",
        )


def _read_idempotency_key(head: Head) -> str | None:
    fields = head.values(b"idempotency-key")
    if not fields:
        return None
    text = fields[0].decode("latin-1").strip(" \t")
    if len(fields) > 1 or not _IDEMPOTENCY_KEY.fullmatch(text):
        raise InvalidRequest(
            f"Send one {IDEMPOTENCY_KEY.name} header of 1-255 visible ASCII characters."
        )
    return text
