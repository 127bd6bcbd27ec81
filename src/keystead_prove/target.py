"""The target of an experiment: the servers of one installation, with a workspace of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from keystead_prove.connection import Line
from keystead_prove.endpoints import Door


class Operator(Protocol):
    """What only who runs the installation can do to the workspace."""

    def suspend(self) -> None:
        """Refuses all keys of the workspace, until it is resumed."""
        ...

    def resume(self) -> None:
        """Lets them work again."""
        ...

    def limit_keys(self, limit: int | None) -> None:
        """How many active keys the workspace may have; None is any number."""
        ...

    def now(self) -> datetime:
        """The time that decides."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """Servers by their URLs, and the token of a key that manages the others. `doors`: where keys are verified."""

    urls: Sequence[str]
    token: str = field(repr=False)
    doors: Sequence[Door] = ()

    def managers(self) -> list[Line]:
        """A line to each server for the key that manages."""
        return [Line(url, self.token) for url in self.urls]
