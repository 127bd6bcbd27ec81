"""The route table: every call of the API, and the dispatch of a request to one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from starlette.routing import compile_path

from keystead.api.collections import COLLECTIONS
from keystead.api.documents import DOCUMENTS
from keystead.api.events import EVENTS
from keystead.api.keys import KEYS
from keystead.api.operations import Operation
from keystead.api.operator.deletion import DELETION
from keystead.api.operator.exports import EXPORTS
from keystead.api.operator.keys import WORKSPACE_KEYS
from keystead.api.operator.plans import PLANS
from keystead.api.operator.policies import MANAGED_POLICIES
from keystead.api.operator.portal_sessions import PORTAL_SESSIONS
from keystead.api.operator.workspaces import EXTERNAL_WORKSPACES, MANAGED_WORKSPACES
from keystead.api.policies import POLICY
from keystead.api.webhooks import DELIVERIES, WEBHOOKS
from keystead.api.workspaces import WORKSPACES
from keystead.domain.errors import NotFound
from keystead.http.head import METHODS
from keystead.http.problems import MethodNotAllowed

OPERATIONS: Final[tuple[Operation, ...]] = tuple(
    operation
    for operations in (
        WORKSPACES,
        POLICY,
        KEYS,
        COLLECTIONS,
        DOCUMENTS,
        EVENTS,
        WEBHOOKS,
        DELIVERIES,
        # Before the paths of one workspace: an external id may be called "plan".
        EXTERNAL_WORKSPACES,
        MANAGED_WORKSPACES,
        EXPORTS,
        DELETION,
        MANAGED_POLICIES,
        WORKSPACE_KEYS,
        PLANS,
        PORTAL_SESSIONS,
    )
    for operation in operations
)
"""All calls, in the order of the OpenAPI document."""

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
                pattern = compile_path(path)[0]
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
