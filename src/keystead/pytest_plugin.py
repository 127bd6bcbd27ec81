"""The fixtures for pytest. pytest imports this module in each of its runs, so all else is imported in a fixture."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from keystead.testing import EmbeddedKeystead


@pytest.fixture(scope="session")
def _empty_keystead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an installation without keys: it is made once, and copied for each test."""
    from keystead.testing.embedded import prepared

    folder = tmp_path_factory.mktemp("keystead") / "empty"
    prepared(folder)
    return folder


@pytest.fixture
def keystead_scopes() -> Mapping[str, str]:
    """Return the application's own scopes with their descriptions. Override it in your conftest.py."""
    return {}


@pytest.fixture
def embedded_keystead(
    _empty_keystead: Path, tmp_path: Path, keystead_scopes: Mapping[str, str]
) -> Iterator[EmbeddedKeystead]:
    """Open a real Keystead of the test's own, in a temporary folder."""
    from keystead.testing import embedded

    folder = shutil.copytree(_empty_keystead, tmp_path / "keystead")
    with embedded(folder, keystead_scopes) as keystead:
        yield keystead
