"""Real servers over one database, and a workspace to throw away on them, as `keystead prove --url` makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from keystead.cli.options import Place
from keystead_prove.environment import Setup, on_running
from tests.support.server_process import ServerProcess, serving

Through = Callable[[Sequence[ServerProcess]], AbstractContextManager[Sequence[str]]]
"""A function that puts gateways and applications before servers, and returns their URLs."""


@dataclass(frozen=True)
class Servers:
    """Servers that may be stopped, and the setup on them."""

    servers: Sequence[ServerProcess]
    setup: Setup


@contextmanager
def setup_of(
    database_url: str, count: int, environment: Mapping[str, str] | None = None
) -> Iterator[Setup]:
    """Set up that many servers on this machine, which go on."""
    with servers_of(database_url, count, environment) as made:
        yield made.setup


@contextmanager
def servers_of(
    database_url: str,
    count: int,
    environment: Mapping[str, str] | None = None,
    through: Through | None = None,
) -> Iterator[Servers]:
    """Run that many servers on this machine, and put what `through` starts before them."""
    with ExitStack() as stack:
        first = stack.enter_context(serving(database_url, environment=environment))
        others = [
            stack.enter_context(serving(database_url, data=first.data, environment=environment))
            for _ in range(count - 1)
        ]
        servers = [first, *others]
        pages = stack.enter_context(through(servers)) if through else ()
        place = Place(first.data, first.database_url)
        urls = [server.base_url for server in servers]
        yield Servers(servers, stack.enter_context(on_running(place, urls, pages)))
