"""What one request gathers on its way through the layers, for the log and the metrics; kept in the ASGI scope."""

from __future__ import annotations

from dataclasses import dataclass

from keystead.http.asgi import Scope
from keystead.http.client import Client

_KEY = "keystead"


@dataclass(slots=True)
class RequestRecord:
    """The client, and what later code finds out: whose key it was, why it was denied, which route it took."""

    client: Client
    key_id: str | None = None
    workspace_id: str | None = None
    denied: str | None = None
    route: str | None = None


def begin_record(scope: Scope, client: Client) -> RequestRecord:
    """Put a fresh record into the scope."""
    record = RequestRecord(client)
    scope.setdefault("state", {})[_KEY] = record
    return record


def record_of(scope: Scope) -> RequestRecord:
    """The record of a request. KeyError in front of the stack."""
    record: RequestRecord = scope["state"][_KEY]
    return record


def client_of(scope: Scope) -> Client:
    """Who is at the other end of the request."""
    return record_of(scope).client


def note_caller(scope: Scope, *, key_id: str | None, workspace_id: str | None) -> None:
    """Tell the log who called; to be said once the credentials are known to be good."""
    record = record_of(scope)
    record.key_id, record.workspace_id = key_id, workspace_id


def note_denial(scope: Scope, reason: str) -> None:
    """Tell the log why credentials were refused, which no answer tells."""
    record_of(scope).denied = reason


def note_route(scope: Scope, template: str) -> None:
    """Tell the metrics which route this is, such as `/v1/keys/{id}`; FastAPI's and Starlette's are found without."""
    record_of(scope).route = template
