"""Rows for databases of millions of keys: generated quickly, with real digests for a thousand of them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from keystead.domain.digest import Pepper
from keystead.domain.ids import ALPHABET, ID_WIDTH, WorkspaceId, encode_base62
from keystead.domain.token import Token, assemble

Row = tuple[Any, ...]

LARGEST: Final = WorkspaceId("ws_" + "0" * ID_WIDTH)
TYPICAL: Final = WorkspaceId("ws_" + encode_base62(1, ID_WIDTH))
SAMPLES: Final = 1_000

_BEGIN: Final = 1_750_000_000_000
_STEP: Final = 4_000
"""Milliseconds since 1970 of the first key, and from one key to the next: ten million take 15 months."""
_TAIL_WIDTH: Final = 13
_TAIL: Final = 62**_TAIL_WIDTH
_TAIL_BYTES: Final = 1 << 16
_TO_BASE62: Final = bytes(ord(ALPHABET[n % 62]) for n in range(256))
_DAY: Final = 86_400_000_000


@dataclass(frozen=True)
class Population:
    """`keys` over `workspaces`; the largest, LARGEST, has `largest` of them, the others share the rest.

    One key in ten is revoked, one in ten has expired or will. `tokens` of active keys are sampled on the way.
    """

    keys: int
    workspaces: int
    largest: int
    pepper: Pepper
    tokens: list[Token] = field(default_factory=list)

    def workspace_rows(self) -> Iterator[Row]:
        """Yield all workspaces, on the plan without limits."""
        for number in range(self.workspaces):
            yield (
                f"ws_{encode_base62(number, ID_WIDTH)}",
                "Population",
                "scale",
                "{}",
                _BEGIN * 1000,
            )

    def key_rows(self) -> Iterator[Row]:
        """Yield all keys in the order of their IDs, alternating between owners: an owner's keys lie far apart."""
        ids, digests = _tails(), _digests()
        dice = random.Random(1)
        owners = [f"ws_{encode_base62(number, ID_WIDTH)}" for number in range(self.workspaces)]
        every, sampled = max(1, self.keys // self.largest), max(1, self.keys // SAMPLES)
        for number in range(self.keys):
            milliseconds = _BEGIN + number * _STEP
            head = (milliseconds << 80) // _TAIL
            key_id = f"key_{encode_base62(head, ID_WIDTH - _TAIL_WIDTH)}{next(ids)}"
            owner = owners[0 if number % every == 0 else dice.randrange(1, self.workspaces)]
            digest, four = next(digests), key_id[-4:]
            fate = _fate(dice.randrange(20), milliseconds * 1000)
            if number % sampled == 1 % sampled:
                token = self._sample(milliseconds)
                key_id, four, fate = token.key_id, token.hint[-4:], (None, None)
                digest = self.pepper.digest(token.body())
            description = f"worker {number % 977} of batch {number}"
            yield (
                key_id,
                owner,
                description,
                description,
                f"ks_…{four}",
                self.pepper.id,
                digest,
                "*",
                milliseconds * 1000,
                "operator",
                "bench",
                "bench",
                *fate,
            )

    def _sample(self, milliseconds: int) -> Token:
        token = assemble("ks", milliseconds << 80 | 0x7 << 76 | 0b10 << 62, os.urandom(32))
        self.tokens.append(token)
        return token


def _fate(die: int, created_at: int) -> tuple[int | None, int | None]:
    """Draw expiry and revocation, in microseconds since 1970."""
    match die:
        case 0:
            return created_at + 30 * _DAY, None
        case 1:
            return created_at + 3000 * _DAY, None
        case 2 | 3:
            return None, created_at + _DAY
        case _:
            return None, None


def _tails() -> Iterator[str]:
    """Yield thirteen random digits, repeatedly."""
    while True:
        text = os.urandom(_TAIL_BYTES).translate(_TO_BASE62).decode("ascii")
        for start in range(0, _TAIL_BYTES - _TAIL_WIDTH, _TAIL_WIDTH):
            yield text[start : start + _TAIL_WIDTH]


def _digests() -> Iterator[bytes]:
    """Yield random bytes in place of digests."""
    while True:
        block = os.urandom(_TAIL_BYTES)
        for start in range(0, _TAIL_BYTES, 32):
            yield block[start : start + 32]
