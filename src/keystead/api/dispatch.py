"""The dispatch of a request to the call that its method and path name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from keystead.api.calls import Endpoint
from keystead.api.operations import Operation
from keystead.domain.credentials import ActingCredential
from keystead.domain.errors import NotFound
from keystead.http.asgi import Receive, Scope, Send
from keystead.http.body import LargeBodies
from keystead.http.head import METHODS
from keystead.http.problems import MethodNotAllowed
from keystead.services import Services

_SLASH: Final = "\0"
"""A slash within a segment. No request has this character in its path: the stack refuses control characters."""
_ENCODED_SLASH: Final = re.compile(b"%2[Ff]")

E = TypeVar("E")
Places = tuple[int, ...]
Segments = tuple[str, ...]


class _Template(NamedTuple, Generic[E]):
    names: tuple[str, ...]
    methods: dict[str, E]


class Routes(Generic[E]):
    """Endpoints by method and path. HEAD is answered like GET (RFC 9110 section 9.3.2); the server omits the body."""

    def __init__(self, endpoints: Iterable[tuple[Operation, E]]) -> None:
        self._fixed: dict[str, dict[str, E]] = {}
        # By the number of segments, then by the places of parameters, then by the segments at all other places.
        self._templates: dict[int, dict[Places, dict[Segments, _Template[E]]]] = {}
        for operation, endpoint in endpoints:
            methods = self._methods_of(operation.path)
            methods[operation.method] = endpoint
            if operation.method == "GET":
                methods["HEAD"] = endpoint

    def find(self, method: str, path: str) -> tuple[E, Mapping[str, str]]:
        """Return the endpoint of a request and its path's parameters. NotFound or MethodNotAllowed."""
        fixed = self._fixed.get(path)
        if fixed is not None and method in fixed:
            return fixed[method], {}
        allowed = set(fixed or ())
        segments = path.split("/")
        # Two templates can match a path: a document may be called "batch".
        for places, templates in self._templates.get(len(segments), {}).items():
            template = templates.get(_others(segments, places))
            values = [segments[place].replace(_SLASH, "/") for place in places]
            if template is not None and all(values):
                names, methods = template
                if method in methods:
                    return methods[method], dict(zip(names, values, strict=True))
                allowed |= methods.keys()
        if allowed:
            raise MethodNotAllowed(", ".join(each for each in METHODS if each in allowed))
        raise NotFound

    def _methods_of(self, path: str) -> dict[str, E]:
        segments = path.split("/")
        places = tuple(place for place, each in enumerate(segments) if each.startswith("{"))
        if not places:
            return self._fixed.setdefault(path, {})
        names = tuple(segments[place][1:-1] for place in places)
        templates = self._templates.setdefault(len(segments), {}).setdefault(places, {})
        return templates.setdefault(_others(segments, places), _Template(names, {})).methods


class Calls:
    """The ASGI application of some operations. It raises every refusal."""

    def __init__(
        self,
        operations: Iterable[Operation],
        services: Services,
        base_url: str,
        operator: ActingCredential | None = None,
    ) -> None:
        """Prepare the calls. `operator` makes those of the Operator API, which then need no credential."""
        bodies = LargeBodies()
        self._routes = Routes(
            (operation, Endpoint(operation, services, bodies, base_url, operator))
            for operation in operations
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. NotFound or MethodNotAllowed, or the call's own refusal."""
        endpoint, parameters = self._routes.find(scope["method"], _path_of(scope))
        await endpoint.answer(scope, receive, send, parameters)


def _path_of(scope: Scope) -> str:
    """Return the decoded path. A percent-encoded slash is _SLASH: it is part of its segment."""
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or b""
    encoded, count = _ENCODED_SLASH.subn(_SLASH.encode(), raw)
    return unquote_to_bytes(encoded).decode("utf-8", "replace") if count else path


def _others(segments: Sequence[str], places: Places) -> Segments:
    return tuple(each for place, each in enumerate(segments) if place not in places)
