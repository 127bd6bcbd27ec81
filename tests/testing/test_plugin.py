"""The pytest plugin costs nothing until a test asks for it, and then gives each test a Keystead of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points

import pytest

from keystead.domain.errors import InvalidToken
from keystead.integrations.guard import RequestHead
from keystead.testing import EmbeddedKeystead
from tests.support.callers import bearer


@pytest.fixture
def keystead_scopes() -> Mapping[str, str]:
    """The scopes of an application."""
    return {"reports:read": "Read reports"}


def test_the_plugin_is_registered_and_imports_nothing_more() -> None:
    """The entry point leads to it; importing it imports no other module of Keystead, and no server."""
    [plugin] = [each for each in entry_points(group="pytest11") if each.name == "keystead"]
    program = (
        f"import pytest, sys; before = set(sys.modules); import {plugin.value};"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["keystead", "keystead.pytest_plugin"]


_earlier: list[str] = []


@pytest.mark.parametrize("run", ["first", "second"])
def test_each_test_has_a_keystead_of_its_own(embedded_keystead: EmbeddedKeystead, run: str) -> None:
    """Its keys work, and those of the test before are unknown."""
    token = embedded_keystead.create_key("reports:read")
    guard = embedded_keystead.guard
    head = RequestHead((bearer(token),))
    assert guard.admit(head, "reports:read").workspace_id == embedded_keystead.workspace_id
    for earlier in _earlier:
        with pytest.raises(InvalidToken):
            guard.admit(RequestHead((bearer(earlier),)))
    _earlier.append(token)
