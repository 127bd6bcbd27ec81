"""The slow hash of passwords (argon2id) and the estimate of how easily one is guessed; so many at once and no more."""

from __future__ import annotations

import base64
import threading
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerificationError

from keystead.domain.errors import RateLimited
from keystead.domain.passwords import Password, check_guesses, check_length, context_words
from keystead.storage.engine.fifo_lock import FifoLock

PARAMETERS: Final = PasswordHasher(
    time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID
)
"""19 MiB, two passes, one lane: the OWASP cheat sheet's argon2id; RFC 9106 says what they mean."""
AT_ONCE: Final = 4
"""Hashes that one process computes at a time for strangers: 76 MiB."""
AT_ONCE_KNOWN: Final = 2
AT_ONCE_NEW: Final = 2
WAITING: Final = 16
WAIT_SECONDS: Final = 2.0
_estimating: Final = threading.Lock()
"""zxcvbn keeps the words it is given in a table of its own, one for the process."""


class Lane:
    """Concurrent work with a bound, and a bound on what waits for it; each owner has its share of both."""

    def __init__(self, at_once: int, waiting: int, wait_seconds: float) -> None:
        self._running = FifoLock(at_once)
        self._admitted = FifoLock(at_once + waiting)
        self._wait_seconds = wait_seconds

    @contextmanager
    def place(self, owner: Hashable) -> Iterator[None]:
        """Hold a place for the work inside. RateLimited when the owner gets none in time, or too many wait."""
        with _turn(self._admitted, owner, 0), _turn(self._running, owner, self._wait_seconds):
            yield


class Passwords:
    """Hashes and checks passwords. A flood of them waits a little, then is sent away: RateLimited, nothing was done.

    Known devices have a lane of their own, and so have new passwords: neither a flood of strangers nor one invitation
    keeps them out. Within a lane each `owner` has a share: an address, a person, the workspace that invites.
    """

    def __init__(
        self,
        hasher: PasswordHasher = PARAMETERS,
        *,
        at_once: int = AT_ONCE,
        waiting: int = WAITING,
        wait_seconds: float = WAIT_SECONDS,
        product: str = "Keystead",
    ) -> None:
        self._hasher = hasher
        self._lane = Lane(at_once, waiting, wait_seconds)
        self._lane_of_known = Lane(AT_ONCE_KNOWN, WAITING, WAIT_SECONDS)
        self._lane_of_new = Lane(AT_ONCE_NEW, WAITING, WAIT_SECONDS)
        self._product = product
        self._nobody = _impossible_hash(hasher)

    def hash(
        self,
        password: Password,
        context: Iterable[str | None] = (),
        pointer: str = "/password",
        *,
        owner: Hashable = None,
    ) -> str:
        """The hash to store, with its parameters and a fresh salt. Invalid for one that is short or easily guessed.

        `context` is what a guesser would know: names and addresses of the person and the workspace.
        """
        check_length(password, pointer)  # costs nothing: before a place is taken
        words = context_words(["Keystead", self._product, *context])
        with self._lane_of_new.place(owner):
            check_guesses(_guesses(password, words), pointer)
            return self._hasher.hash(password.reveal())

    def verify(
        self,
        stored: str | None,
        password: Password,
        *,
        owner: Hashable = None,
        known: bool = False,
    ) -> bool:
        """Whether the password is the stored one. Without a stored one the answer costs the same time.

        `known`: it comes from a device, or a session, of the person.
        """
        if not password.can_be_one:
            return False
        with (self._lane_of_known if known else self._lane).place(owner):
            try:
                return self._hasher.verify(stored or self._nobody, password.reveal())
            except VerificationError:
                return False

    def rehash(self, stored: str, password: Password, *, owner: Hashable = None) -> str | None:
        """A new hash of a password that was just verified, where the stored one is weaker than they are now."""
        if not self._hasher.check_needs_rehash(stored):
            return None
        with self._lane.place(owner):
            return self._hasher.hash(password.reveal())


@contextmanager
def _turn(turns: FifoLock, owner: Hashable, seconds: float) -> Iterator[None]:
    try:
        turns.acquire(owner, seconds)
    except TimeoutError:
        busy = "Too many people are signing in at once; try again in a moment."
        raise RateLimited(2, busy) from None
    try:
        yield
    finally:
        turns.release(owner)


def _guesses(password: Password, words: list[str]) -> float:
    from zxcvbn import zxcvbn  # its dictionaries take a while to read: only where a password is set

    with _estimating:
        return min(float(zxcvbn(form, words)["guesses"]) for form in password.forms())


def _impossible_hash(hasher: PasswordHasher) -> str:
    """A hash of these parameters that no known password has: verified in place of one that is not there."""
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, digest = (
        base64.b64encode(bytes(n)).rstrip(b"=").decode("ascii")
        for n in (hasher.salt_len, hasher.hash_len)
    )
    return f"$argon2id$v=19${cost}${salt}${digest}"
