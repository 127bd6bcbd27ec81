"""The product's backend in tests of the operator API: a client with an operator's credential."""

from __future__ import annotations

from typing import Any, Final

import httpx2

from keystead.domain.ids import WorkspaceId
from keystead.domain.principals import Actor, PrincipalKind
from tests.support.api_client import ApiClient, ApiInstallation, Tenant, safe_text

PATH: Final = "/operator/v1/workspaces"
BY: Final = Actor(PrincipalKind.OPERATOR, "tests", "tests")
NAME: Final = "billing"


def backend(api: ApiInstallation) -> ApiClient:
    """Return a client with a new operator's credential."""
    _, token = api.services.credentials.create(NAME, BY)
    return api.client(token.reveal())


def successful(answer: httpx2.Response, status: int = 200) -> dict[str, Any]:
    """Return the body of a successful response."""
    assert answer.status_code == status, safe_text(answer)
    body: dict[str, Any] = answer.json()
    return body


def new_workspace(operator: ApiClient, name: str = "Acme", **more: Any) -> dict[str, Any]:
    """Create a workspace."""
    return successful(operator.post(PATH, {"name": name, **more}), 201)


def events_of(api: ApiInstallation, workspace_id: WorkspaceId) -> list[Any]:
    """Return the events of a workspace, newest first."""
    return api.services.events.list(Tenant(api, workspace_id).principal).items


def shown(answer: httpx2.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return the whole response except its request id."""
    headers = [(name, value) for name, value in answer.headers.items() if name != "x-request-id"]
    return answer.status_code, answer.content, headers
