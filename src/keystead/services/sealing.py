"""Secrets that must be read again, sealed: AES-256-GCM under a key derived from a pepper. Hazmat.

A webhook's secret signs, so that no one-way digest will do. Who has the database alone reads none of them.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystead.domain.digest import Pepper, Peppers

_PURPOSE: Final = "keystead sealing 1"
_NONCE_BYTES: Final = 12


class Unsealable(Exception):
    """A sealed text whose pepper is not at hand, or that is not what was sealed for this place."""


class Sealed(NamedTuple):
    """What is stored of a text: the pepper's id, and nonce, ciphertext and tag as bytes."""

    pepper_id: str
    value: bytes

    def __repr__(self) -> str:
        return f"<Sealed under {self.pepper_id}>"


class Sealing:
    """Seals texts under the current pepper. `place` binds a text to its row: it opens nowhere else."""

    def __init__(self, peppers: Peppers) -> None:
        self._peppers = peppers

    def seal(self, text: bytes, place: str) -> Sealed:
        """What to store of `text`."""
        nonce = os.urandom(_NONCE_BYTES)
        pepper = self._peppers.current
        return Sealed(pepper.id, nonce + _cipher(pepper).encrypt(nonce, text, place.encode()))

    def open(self, sealed: Sealed, place: str) -> bytes:
        """The text again. Unsealable where it was sealed elsewhere, or its pepper is gone."""
        pepper = self._peppers.get(sealed.pepper_id)
        if pepper is None:
            raise Unsealable(f"The pepper {sealed.pepper_id} is not at hand.")
        nonce, closed = sealed.value[:_NONCE_BYTES], sealed.value[_NONCE_BYTES:]
        try:
            return _cipher(pepper).decrypt(nonce, closed, place.encode())
        except InvalidTag:
            raise Unsealable("The sealed text was not sealed for this place.") from None


def _cipher(pepper: Pepper) -> AESGCM:
    return AESGCM(pepper.derive(_PURPOSE))
