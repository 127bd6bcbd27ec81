"""Testing an application that Keystead protects: a guard over keys in memory, and a real Keystead in a folder."""

from __future__ import annotations

from keystead.domain.errors import RateLimited, Unavailable
from keystead.domain.principals import Principal
from keystead.domain.scopes import Scopes
from keystead.testing.embedded import EmbeddedKeystead, embedded
from keystead.testing.fake import FakeGuard, Key, fake_keystead

__all__ = [
    "EmbeddedKeystead",
    "FakeGuard",
    "Key",
    "Principal",
    "RateLimited",
    "Scopes",
    "Unavailable",
    "embedded",
    "fake_keystead",
]
