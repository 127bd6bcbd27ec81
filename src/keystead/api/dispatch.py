"""The dispatch of a request to the call that its method and path name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from keystead.api.calls import Endpoint
from keystead.api.operations import Operation
from keystead.domain.credentials import ActingCredential
from keystead.domain.errors import NotFound
from keystead.http.asgi import Receive, Scope, Send
from keystead.http.body import LargeBodies
from keystead.http.head import METHODS
from keystead.http.problems import MethodNotAllowed
from keystead.services import Services

_PARAMETER: Final = re.compile(r"\\{(\w+)\\}")

E = TypeVar("E")


class _Template(NamedTuple, Generic[E]):
    pattern: re.Pattern[str]
    methods: dict[str, E]


class Routes(Generic[E]):
    """Endpoints by method and path. HEAD is answered like GET (RFC 9110 section 9.3.2); the server omits the body."""

    def __init__(self, endpoints: Iterable[tuple[Operation, E]]) -> None:
        self._fixed: dict[str, dict[str, E]] = {}
        templates: dict[str, _Template[E]] = {}
        for operation, endpoint in endpoints:
            path, method = operation.path, operation.method
            if operation.path_parameters:
                pattern = _pattern_of(path)
                methods = templates.setdefault(path, _Template(pattern, {})).methods
            else:
                methods = self._fixed.setdefault(path, {})
            methods[method] = endpoint
            if method == "GET":
                methods["HEAD"] = endpoint
        # A parameter is one segment, so only templates with as many slashes can match.
        self._templates: dict[int, list[_Template[E]]] = {}
        for path, template in templates.items():
            self._templates.setdefault(path.count("/"), []).append(template)

    def find(self, method: str, path: str) -> tuple[E, Mapping[str, str]]:
        """Return the endpoint of a request and its path's parameters. NotFound or MethodNotAllowed."""
        fixed = self._fixed.get(path)
        if fixed is not None and method in fixed:
            return fixed[method], {}
        allowed = set(fixed or ())
        # Two templates can match a path: a document may be called "batch".
        for pattern, methods in self._templates.get(path.count("/"), ()):
            match = pattern.match(path)
            if match is not None:
                if method in methods:
                    return methods[method], match.groupdict()
                allowed |= methods.keys()
        if allowed:
            raise MethodNotAllowed(", ".join(each for each in METHODS if each in allowed))
        raise NotFound


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
        endpoint, parameters = self._routes.find(scope["method"], scope["path"])
        await endpoint.answer(scope, receive, send, parameters)


def _pattern_of(path: str) -> re.Pattern[str]:
    """Return the pattern of a template, in which each parameter is one segment."""
    return re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", re.escape(path)) + r"\Z")
