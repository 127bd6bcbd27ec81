"""The target of an experiment: the servers of one installation, with a separate workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from keystead_prove.servers.connection import Connection
from keystead_prove.servers.endpoints import Endpoint


class Operator(Protocol):
    """What only the operator can do to the workspace."""

    def suspend(self) -> None:
        """Suspend the workspace."""
        ...

    def resume(self) -> None:
        """Resume the workspace."""
        ...

    def limit_keys(self, limit: int | None) -> None:
        """Set the limit of active keys; None: no limit."""
        ...

    def now(self) -> datetime:
        """Return the installation's time."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """The URLs of the servers, the token of a key that manages the others, and the endpoints that verify keys."""

    urls: Sequence[str]
    token: str = field(repr=False)
    endpoints: Sequence[Endpoint] = ()

    def managers(self) -> list[Connection]:
        """Return a connection to each server with the managing key."""
        return [Connection(url, self.token) for url in self.urls]
