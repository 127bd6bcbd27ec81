"""Both kinds of client behind one interface, so that one test covers both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keystead.client import AsyncClient, AsyncOperator, Client, Operator

KINDS: tuple[type[Any], ...] = (Client, AsyncClient)
OPERATORS: tuple[type[Any], ...] = (Operator, AsyncOperator)


class BlockingClient:
    """A client that runs the coroutines and consumes the asynchronous iterators of another one."""

    def __init__(self, inner: Any, runner: asyncio.Runner) -> None:
        self.inner, self._runner = inner, runner

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.inner, name)
        return self._blocking(member) if callable(member) else self._part(member)

    def _part(self, value: Any) -> Any:
        return BlockingClient(value, self._runner) if is_resource(value) else value

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            result = method(*values, **named)
            if inspect.iscoroutine(result):
                return self._runner.run(result)
            if is_async_list(result):
                return self._runner.run(collect_items(result))
            return self._part(result)

        return call


def is_resource(value: object) -> bool:
    """Return whether it is a resource of a client, such as its keys."""
    return type(value).__module__.startswith("keystead.client.") and hasattr(value, "_connection")


def is_async_list(value: object) -> bool:
    """Return whether it is an asynchronous list."""
    return isinstance(value, AsyncIterator)


async def collect_items(items: AsyncIterator[Any]) -> list[Any]:
    """Return all of them."""
    return [item async for item in items]


@contextmanager
def opened(kind: type[Any], *values: Any, **named: Any) -> Iterator[Any]:
    """Open a client of either kind, and close it at the end."""
    with asyncio.Runner() as runner:
        client = BlockingClient(kind(*values, **named), runner)
        try:
            yield client
        finally:
            client.close()
