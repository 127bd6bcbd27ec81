"""The private names of Granian that the server overrides or sets: an upgrade that changes one fails here."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Final

import pytest
from granian.net import SocketSpec  # type: ignore[attr-defined]
from granian.server.common import AbstractServer
from granian.server.mp import MPServer, WorkerProcess

import keystead
from keystead.operation.server.serving import Server

METHODS: Final = {
    "signal_handler_interrupt": ["self", "*args", "**kwargs"],
    "signal_handler_reload": ["self", "*args", "**kwargs"],
    "_reload": ["self", "spawn_target", "target_loader"],
    "_init_shared_socket": ["self"],
    "_spawn_worker": ["self", "idx", "target", "callback_loader"],
    "_spawn_workers": ["self", "spawn_target", "target_loader"],
    "_stop_workers": ["self"],
    "serve": ["self", "spawn_target", "target_loader", "wrap_loader"],
}
ATTRIBUTES: Final = {
    "bind_addr",
    "bind_port",
    "backlog",
    "main_loop_interrupt",
    "reload_signal",
    "wrks",
    "_shd",
    "_sfd",
    "_ssp",
    "_sso",
}
"""The attributes that our methods read or set."""


def parameters(method: object) -> list[str]:
    """Return the parameters' names, with their stars."""
    assert callable(method)
    stars: dict[object, str] = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
    }
    return [
        stars.get(parameter.kind, "") + parameter.name
        for parameter in inspect.signature(method).parameters.values()
    ]


@pytest.mark.parametrize("name", METHODS)
def test_each_method_has_the_signature_that_we_rely_on(name: str) -> None:
    """The server overrides or calls each of these methods."""
    assert parameters(getattr(MPServer, name)) == METHODS[name]


def test_each_method_that_the_server_overrides_is_listed() -> None:
    """An override that granian no longer calls would silently do nothing."""
    overrides = {name for name in vars(Server) if hasattr(MPServer, name)}
    assert {name for name in overrides if not name.startswith("__")} <= METHODS.keys()


def test_each_attribute_is_one_of_granian() -> None:
    """Granian's own source uses these attributes, so setting them has an effect."""
    source = inspect.getsource(AbstractServer) + inspect.getsource(MPServer)
    missing = {name for name in ATTRIBUTES if f"self.{name}" not in source}
    assert not missing


def test_the_processes_are_what_we_terminate() -> None:
    """A worker has `terminate`, the flag that the stop was ours, and a multiprocessing process inside."""
    source = inspect.getsource(WorkerProcess)
    assert parameters(WorkerProcess.terminate) == ["self"]
    assert "self.interrupt_by_parent = True" in source
    assert "self.inner.terminate()" in source


def test_a_socket_is_built_from_an_address() -> None:
    """`SocketSpec(host, port, backlog).build()` listens and returns its descriptor."""
    holder = SocketSpec("127.0.0.1", 0, 16).build()
    assert holder.get_fd() > 0


def test_one_file_alone_knows_granian() -> None:
    """Nothing else in Keystead imports Granian."""
    source = Path(keystead.__file__).parent
    users = {
        file.relative_to(source).as_posix()
        for file in source.rglob("*.py")
        if any(
            line.lstrip().startswith(("import granian", "from granian"))
            for line in file.read_text().splitlines()
        )
    }
    assert users == {"operation/server/serving.py"}
