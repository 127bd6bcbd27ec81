"""The calls of the API as data: what the runtime enforces, and what the OpenAPI document says, in one place.

A handler takes the call, and what its operation declares: the parameters by name, and the body. Its docstring is the
description, its name in camel case is the operation id, and its annotations name the models of body and response.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Generic, NamedTuple, TypeVar, get_args, get_type_hints

from keystead.api.bodies.body import Body
from keystead.domain.errors import KeysteadError
from keystead.http.body import JSON_LIMIT
from keystead.http.json_body import MAX_VALUES
from keystead.http.paging import MAX_LIMIT
from keystead.wire.schema import Resource

KEY: Final = "key"
OPERATOR: Final = "operator"
"""The names of the two security schemes: a workspace's key, and an operator's credential."""

EXPIRES_HEADER: Final = "Keystead-Key-Expires"
IDEMPOTENCY_PATTERN: Final = "[!-~]{1,255}"

A_co = TypeVar("A_co", bound=Resource | None, covariant=True)
H = TypeVar("H", bound="Handler")


class Reply(NamedTuple, Generic[A_co]):
    """A successful response: the resource, its version for the ETag, and the path of what was created.

    `status` is one of the operation's; None: its first.
    """

    body: A_co
    version: int | None = None
    location: str | None = None
    status: int | None = None


class Streamed(NamedTuple):
    """A successful response in parts, each of which is made after the client has taken the one before."""

    parts: Iterator[bytes]


Handler = Callable[..., Reply[Any] | Streamed]
FindVersion = Callable[[Any, Mapping[str, str]], int | None]
"""Returns the version of the resource that the path names; None for a resource without versions. Raises NotFound."""


class Way(StrEnum):
    """The kinds of work, each with a method of `services.execution`."""

    READ = "read"
    WRITE = "write"
    SLOW = "slow"


class Place(StrEnum):
    """The part of a request that holds a parameter, as OpenAPI names it."""

    QUERY = "query"
    PATH = "path"
    HEADER = "header"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter. The runtime checks its `type`; `schema` adds to the type's JSON Schema, or replaces parts of it."""

    place: Place
    name: str
    description: str
    type: Any = str
    schema: Mapping[str, Any] | None = None
    examples: Sequence[str] = ()


def in_query(
    name: str, description: str, type: Any = str, schema: Mapping[str, Any] | None = None
) -> Parameter:
    """Describe a parameter of the query, which may always be omitted."""
    return Parameter(Place.QUERY, name, description, type, schema)


def in_path(
    name: str, description: str, example: str, schema: Mapping[str, Any] | None = None
) -> Parameter:
    """Describe a parameter of the path."""
    return Parameter(Place.PATH, name, description, str, schema, (example,))


WORKSPACE: Final = in_path("workspace", "The workspace's id.", "ws_02tcRIyrxLXTR81B3dqdOx")
WITHIN: Final = "/operator/v1/workspaces/{workspace}"
"""The path below which an operator acts within one workspace."""

# `read_page` parses the text of a limit, so that every list refuses the same ones.
LIMIT: Final = in_query(
    "limit",
    f"The largest number of items to return: 1-{MAX_LIMIT}.",
    schema={"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
)
CURSOR: Final = in_query(
    "cursor", "The `next_cursor` of the previous page; other parameters must not change."
)
PAGED: Final = (LIMIT, CURSOR)

IDEMPOTENCY_KEY: Final = Parameter(
    Place.HEADER,
    "Idempotency-Key",
    "Any text of 1-255 visible ASCII characters. For 24 hours, the same request with the same text"
    " returns the same key with `token` null, and a different request is refused.",
    schema={"type": "string", "pattern": f"^{IDEMPOTENCY_PATTERN}$"},
)
IF_MATCH: Final = Parameter(
    Place.HEADER,
    "If-Match",
    "The `ETag` of the version to change, or a list of them; `*`: any version, if the resource exists."
    " If the resource has another version, the change is refused with `changed-meanwhile`. A weak tag never matches.",
    schema={"type": "string", "examples": ['"3"']},
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    """A call of the API.

    Attributes:
        path: The template of the path, such as `/v1/keys/{id}`.
        name: The operation id.
        description: The handler's docstring.
        security: The scheme of the credential, KEY or OPERATOR.
        scopes: The scopes that the key must have. Without any, any live key will do.
        refusals: The errors of this call beyond those that all calls share.
        path_parameters: Those in the path's template.
        query: The parameters of the query.
        body: The model of the body; None: the body is neither read nor refused.
        body_required: Whether the call fails without a body.
        max_body: The largest body in bytes.
        max_values: The largest number of values and member names in the body.
        answer: The shape of the response, or a union of several; None: it has no body.
        streams: The media type of a response in parts; None: it has one part, in JSON.
        statuses: The statuses of success, the usual one first.
        idempotent: Whether the call accepts an Idempotency-Key; None: it refuses one, because repeating it heals.
        if_match: Whether it accepts If-Match.
        has_etag: Whether its response has an ETag.
        is_located: Whether its 201 response has a Location.
        way: The kind of work, which decides on which thread it runs.
        revokes: Whether it revokes access. Then it never waits behind other calls of its owner.
        slow_with: The query parameter that makes it a slow call.
        find_version: Finds the resource that the path names, because 404 and 412 come before 422; None: no resource.
        handler: The function that answers it.
        takes: The class of call that the handler takes: `Call` acts within a workspace, which is the key's, or the one
            in the path of an operator's call; `OperatorCall` acts on the installation.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    security: str
    scopes: tuple[str, ...]
    refusals: tuple[type[KeysteadError], ...]
    path_parameters: tuple[Parameter, ...]
    query: tuple[Parameter, ...]
    body: type[Body] | None
    body_required: bool
    max_body: int
    max_values: int
    answer: Any
    streams: str | None
    statuses: tuple[int, ...]
    idempotent: bool | None
    if_match: bool
    has_etag: bool
    is_located: bool
    way: Way
    revokes: bool
    slow_with: str | None
    find_version: FindVersion | None
    handler: Handler
    takes: type


@dataclass(slots=True)
class Operations:
    """The operations below one path, in the order of their declaration."""

    root: str
    tag: str
    security: str = KEY
    path_parameters: tuple[Parameter, ...] = ()
    find_version: FindVersion | None = None
    listed: list[Operation] = field(default_factory=list)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.listed)

    def call(
        self,
        method: str,
        path: str,
        summary: str,
        *scopes: str,
        refusals: Sequence[type[KeysteadError]] = (),
        query: Sequence[Parameter] = (),
        max_body: int = JSON_LIMIT,
        max_values: int = MAX_VALUES,
        streams: str | None = None,
        statuses: Sequence[int] = (200,),
        idempotent: bool | None = False,
        if_match: bool = False,
        has_etag: bool = False,
        is_located: bool | None = None,
        way: Way | None = None,
        revokes: bool = False,
        slow_with: str | None = None,
        tag: str | None = None,
        find_version: FindVersion | None = None,
    ) -> Callable[[H], H]:
        """Declare the decorated handler as an operation; `Operation` explains the arguments.

        Omitted: `is_located` if it has the status 201, `way` by the method, `tag` and `find_version` as for the others.
        """

        def declare(handler: H) -> H:
            hints = get_type_hints(handler)
            body = inspect.signature(handler).parameters.get("body")
            template = self.root + path
            named = [each for each in self.path_parameters if f"{{{each.name}}}" in template]
            operation = Operation(
                method=method,
                path=template,
                name=_camel_case(handler.__name__),
                tag=tag or self.tag,
                summary=summary,
                description=inspect.cleandoc(handler.__doc__ or ""),
                security=self.security,
                scopes=scopes,
                refusals=tuple(refusals),
                path_parameters=tuple(named),
                query=tuple(query),
                body=hints.get("body"),
                body_required=body is not None and body.default is body.empty,
                max_body=max_body,
                max_values=max_values,
                answer=_answer_of(hints["return"]),
                streams=streams,
                statuses=tuple(statuses),
                idempotent=idempotent,
                if_match=if_match,
                has_etag=has_etag,
                is_located=201 in statuses if is_located is None else is_located,
                way=way or (Way.READ if method == "GET" else Way.WRITE),
                revokes=revokes,
                slow_with=slow_with,
                find_version=find_version or (self.find_version if named else None),
                handler=handler,
                takes=hints["call"],
            )
            self.listed.append(operation)
            return handler

        return declare


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _answer_of(reply: Any) -> Any:
    """Return the shape in `Reply[Shape]`; None for `Reply[None]` and for a response in parts."""
    if reply is Streamed:
        return None
    (shape,) = get_args(reply)
    return None if shape is type(None) else shape
