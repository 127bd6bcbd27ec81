"""Installations that may send webhooks to this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keystead.bootstrap import Installation
from keystead.domain.principals import Principal, operator
from tests.support.installations import own_sandbox
from tests.support.receivers import Receiver, open_webhook_installation

__all__ = ["installation", "own_sandbox", "receiver", "tenant"]


@pytest.fixture
def installation(database_url: str) -> Iterator[Installation]:
    """An installation by the true time, once on each engine."""
    with open_webhook_installation(database_url) as installation:
        yield installation


@pytest.fixture
def tenant(installation: Installation) -> Principal:
    """The owner of a workspace without limits."""
    return operator("tests", installation.services.workspaces.create("W", plan_id="scale").id)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that accepts everything."""
    with Receiver() as receiver:
        yield receiver
