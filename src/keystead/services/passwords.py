"""The slow hash of passwords (argon2id), and the estimate of how easily one is guessed, at a bounded concurrency."""

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
from keystead.domain.product import KEYSTEAD
from keystead.storage.engine.fifo_lock import FifoLock

PARAMETERS: Final = PasswordHasher(
    time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID
)
"""19 MiB, two passes, no parallelism: argon2id as the OWASP cheat sheet has it; RFC 9106 explains the parameters."""
AT_ONCE: Final = 4
"""Concurrent hashes of unknown devices in one process: 76 MiB."""
AT_ONCE_KNOWN: Final = 2
AT_ONCE_NEW: Final = 2
WAITING: Final = 16
WAIT_SECONDS: Final = 2.0
_estimating: Final = threading.Lock()
"""zxcvbn keeps the words it is given in a table of the process, so two estimates would mix theirs."""


class Slots:
    """Bounded concurrency with a bounded queue. Each owner has a share of both."""

    def __init__(self, at_once: int, waiting: int, wait_seconds: float) -> None:
        self._running = FifoLock(at_once)
        self._admitted = FifoLock(at_once + waiting)
        self._wait_seconds = wait_seconds

    @contextmanager
    def hold(self, owner: Hashable) -> Iterator[None]:
        """Hold a slot for the work inside. Raises RateLimited if the wait is too long, or the queue is full."""
        with _turn(self._admitted, owner, 0), _turn(self._running, owner, self._wait_seconds):
            yield


class Passwords:
    """Hashes and checks passwords. Beyond its bounds it waits a little, then raises RateLimited.

    Known devices and new passwords have slots of their own, so a flood of unknown sign-ins holds neither up. Each
    `owner` (an address, a user, the workspace that invites) has a share of them.
    """

    def __init__(
        self,
        hasher: PasswordHasher = PARAMETERS,
        *,
        at_once: int = AT_ONCE,
        waiting: int = WAITING,
        wait_seconds: float = WAIT_SECONDS,
        product: str = KEYSTEAD,
    ) -> None:
        self._hasher = hasher
        self._slots = Slots(at_once, waiting, wait_seconds)
        self._slots_of_known = Slots(AT_ONCE_KNOWN, WAITING, WAIT_SECONDS)
        self._slots_of_new = Slots(AT_ONCE_NEW, WAITING, WAIT_SECONDS)
        self._product = product
        self._dummy = _unmatchable_hash(hasher)

    def hash(
        self,
        password: Password,
        context: Iterable[str | None] = (),
        pointer: str = "/password",
        *,
        owner: Hashable = None,
    ) -> str:
        """Return the hash to store, with its parameters and a fresh salt. Raises Invalid, RateLimited.

        Args:
            password: Refused if it is short or easily guessed.
            context: What an attacker would try: names and emails of the user and the workspace.
            pointer: The field that Invalid names.
            owner: The owner of the share.
        """
        check_length(password, pointer)  # costs nothing: before a slot is taken
        words = context_words([KEYSTEAD, self._product, *context])
        with self._slots_of_new.hold(owner):
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
        """Return whether the password is the stored one. `known`: it comes from the user's device or session."""
        if not password.can_be_one:
            return False
        with (self._slots_of_known if known else self._slots).hold(owner):
            try:
                # Without a stored hash a dummy is checked: the time must not reveal whether the account exists.
                return self._hasher.verify(stored or self._dummy, password.reveal())
            except VerificationError:
                return False

    def rehash(self, stored: str, password: Password, *, owner: Hashable = None) -> str | None:
        """Return a new hash of a verified password, if the stored one has weaker parameters than today's."""
        if not self._hasher.check_needs_rehash(stored):
            return None
        with self._slots.hold(owner):
            return self._hasher.hash(password.reveal())


@contextmanager
def _turn(turns: FifoLock, owner: Hashable, seconds: float) -> Iterator[None]:
    try:
        turns.acquire(owner, seconds)
    except TimeoutError:
        busy = "Too many people are signing in right now; try again in a moment."
        raise RateLimited(2, busy) from None
    try:
        yield
    finally:
        turns.release(owner)


def _guesses(password: Password, words: list[str]) -> float:
    from zxcvbn import zxcvbn  # its dictionaries load slowly, so only when a password is set

    with _estimating:
        return min(float(zxcvbn(form, words)["guesses"]) for form in password.forms())


def _unmatchable_hash(hasher: PasswordHasher) -> str:
    """Return a hash of these parameters that no known password has."""
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, digest = (
        base64.b64encode(bytes(n)).rstrip(b"=").decode("ascii")
        for n in (hasher.salt_len, hasher.hash_len)
    )
    return f"$argon2id$v=19${cost}${salt}${digest}"
