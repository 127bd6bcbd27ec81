"""The slow hash: its parameters, its strength, its limits."""

from __future__ import annotations

import threading
from typing import Literal

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError
from zxcvbn.matching import L33T_TABLE, enumerate_l33t_subs, relevant_l33t_subtable

from keystead.domain.errors import Invalid, RateLimited
from keystead.domain.passwords import Password
from keystead.services.passwords import Passwords

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=16, salt_len=8)
SENTENCE = Password("zebra lamp ocean 7 pie")
CONTEXT = ["Acme Rockets", "Ada Lovelace", "ada.lovelace@example.com"]


@pytest.fixture
def passwords() -> Passwords:
    """Passwords as in the product, but cheap."""
    return Passwords(CHEAP, product="Rocketry")


def test_the_real_parameters() -> None:
    """The stored hash is argon2id of at least 19 MiB, two passes and a salt of 16 bytes, and it verifies."""
    passwords = Passwords()
    stored = passwords.hash(SENTENCE)
    parameters = extract_parameters(stored)
    assert stored.startswith("$argon2id$v=19$")
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (
        19 * 1024,
        2,
        1,
    )
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)
    assert passwords.verify(stored, SENTENCE)
    assert not passwords.verify(stored, Password("zebra lamp ocean 7 pic"))
    assert not passwords.verify(None, SENTENCE)


def test_a_hash_is_salted(passwords: Passwords) -> None:
    """The same password twice is stored as two different texts."""
    assert passwords.hash(SENTENCE) != passwords.hash(SENTENCE)


def test_every_character_counts(passwords: Passwords) -> None:
    """Of 256 characters the last one decides."""
    long = "".join(chr(97 + (n * n * 7 + n // 5) % 26) for n in range(256))
    stored = passwords.hash(Password(long))
    assert passwords.verify(stored, Password(long))
    assert not passwords.verify(stored, Password(long[:-1] + "!"))


def test_without_a_stored_hash_one_of_the_same_cost_is_computed() -> None:
    """For a user without a password the same work is done, and no password matches."""
    hashes: list[str] = []

    class Noting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
            hashes.append(str(hash))
            return super().verify(hash, password)

    passwords = Passwords(Noting(time_cost=1, memory_cost=8, parallelism=1))
    stored = passwords.hash(SENTENCE)
    assert not passwords.verify(None, SENTENCE)
    assert not passwords.verify(stored, Password("another sentence of words"))
    assert [extract_parameters(hashed) for hashed in hashes] == [extract_parameters(stored)] * 2


@pytest.mark.parametrize("text", ["", "x" * 257, "\0" * 20, "\ud800" * 20])
def test_what_can_be_no_password_is_never_hashed(text: str) -> None:
    """An empty, an endless or an unencodable password is wrong for every user, at no cost."""
    passwords = Passwords(CHEAP, at_once=0, waiting=0)
    assert not passwords.verify(None, Password(text))


def test_a_weaker_hash_is_replaced(passwords: Passwords) -> None:
    """After stronger parameters are set, a verified password gets a new hash; one with the current parameters stays."""
    stored = passwords.hash(SENTENCE)
    assert passwords.rehash(stored, SENTENCE) is None
    stronger = Passwords(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    renewed = stronger.rehash(stored, SENTENCE)
    assert renewed is not None
    assert extract_parameters(renewed).memory_cost == 16
    assert stronger.verify(renewed, SENTENCE)


@pytest.mark.parametrize(
    "text",
    [
        "passwordpassword",
        "password1234567",
        "123456789012345",
        "1234567890123456789012345678901234567890",
        "qwertyuiopasdfgh",
        "aaaaaaaaaaaaaaaa",
        "               ",
        "abcabcabcabcabcabc",
        "abcdefghijklmnopqrst",
        "a-b-c-d-e-f-g-h-i-j",
        "monkey dragon shadow",
        "P@ssw0rd-P@ssw0rd",
        "letmeinletmeinletmein",
        "iloveyouforever1",
        "Summer2026Summer2026",
        "administrator123",
        "keystead-admin-2026",
        "Keystead.Keystead",
        "rocketry rocketry",
        "Rocketry-password-1",
        "AcmeRockets2026!",
        "acme rockets 12345",
        "ada.lovelace1815",
        "Ada Lovelace 2026",
        "ada.lovelace@example.com",
    ],
)
def test_what_is_easily_guessed(passwords: Passwords, text: str) -> None:
    """Common passwords, repeats, sequences, keyboard runs, and the names that go with the account are refused."""
    with pytest.raises(Invalid, match="easily guessed"):
        passwords.hash(Password(text), CONTEXT)


@pytest.mark.parametrize(
    "text",
    [
        "correct horse battery staple",
        "zebra lamp ocean 7 pie",
        "we like sunday walks",
        "my cat ate 3 mice!",
        "ich liebe meinen hund",
        "4fK2-99xz-PpQw-1",
        "!&^%$;:@/#(=+~*|",
        "кошка любит молоко",
        "猫は牛乳が大好きなので毎日飲んでいます",
        "the quick brown fox jumps over the lazy dog and so on, to the 256th byte at last",
    ],
)
def test_what_people_choose(passwords: Passwords, text: str) -> None:
    """A few unrelated words are enough, in any script; so is a generator's password."""
    assert passwords.hash(Password(text), CONTEXT)


@pytest.mark.parametrize("text", ["1!|7+4@({[<69$5", "4@8({[<3691!|70$5+%2" * 2, "p4@$$5w0|2d" * 3])
def test_signs_for_letters_are_estimated_in_few_steps(text: str) -> None:
    """With any signs in place of letters in a password, the estimate tries few combinations of them."""
    tried = [
        enumerate_l33t_subs(relevant_l33t_subtable(form, L33T_TABLE))
        for form in Password(text).forms()
    ]
    assert all(len(combinations) <= 6 for combinations in tried)


def test_names_count_only_for_their_bearers(passwords: Passwords) -> None:
    """The same text is easily guessed for one account and not for another."""
    text = Password("quillfeather-zimmerwald-9")
    assert passwords.hash(text, ["Bo", "bo@example.org"])
    with pytest.raises(Invalid, match="easily guessed"):
        passwords.hash(text, ["Quillfeather Zimmerwald"])


class Slow(PasswordHasher):
    """A hash that waits for a signal, and counts concurrent calls."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)
        self.running = self.most = 0
        self._lock = threading.Lock()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
        """Wait, then refuse."""
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        self.go_on.wait(30)
        with self._lock:
            self.running -= 1
        raise VerifyMismatchError


def _try(passwords: Passwords, refused: list[RateLimited]) -> None:
    try:
        passwords.verify(None, SENTENCE, owner=threading.get_ident())
    except RateLimited as error:
        refused.append(error)


def test_concurrent_hashes_are_bounded() -> None:
    """Of 40 concurrent calls two are hashed at a time, three may wait, and the others are refused immediately."""
    slow = Slow()
    passwords = Passwords(slow, at_once=2, waiting=3, wait_seconds=30)
    refused: list[RateLimited] = []
    threads = [threading.Thread(target=_try, args=(passwords, refused)) for _ in range(40)]
    for thread in threads:
        thread.start()
    assert slow.begun.acquire(timeout=30)
    assert slow.begun.acquire(timeout=30)
    while len(refused) < 35:
        threads[0].join(0.01)
    slow.go_on.set()
    for thread in threads:
        thread.join(30)
    assert (slow.most, len(refused)) == (2, 35)
    assert all(error.retry_after > 0 for error in refused)


def test_a_wait_for_a_slot_is_bounded() -> None:
    """A slot that does not become free in time is a refusal, not an endless wait; afterwards slots are free again."""
    slow = Slow()
    passwords = Passwords(slow, at_once=1, waiting=1, wait_seconds=0.01)
    holder = threading.Thread(target=_try, args=(passwords, []))
    holder.start()
    assert slow.begun.acquire(timeout=30)
    with pytest.raises(RateLimited):
        passwords.verify(None, SENTENCE, owner="another")
    slow.go_on.set()
    holder.join(30)
    assert not passwords.verify(None, SENTENCE)


def test_one_owner_leaves_places_to_others() -> None:
    """Half of the slots serve one address's concurrent requests, and another address is served meanwhile."""
    slow = Slow()
    passwords = Passwords(slow, at_once=4, waiting=4, wait_seconds=30)
    refused: list[RateLimited] = []

    def flood() -> None:
        try:
            passwords.verify(None, SENTENCE, owner="flood")
        except RateLimited as error:
            refused.append(error)

    threads = [threading.Thread(target=flood) for _ in range(20)]
    threads.append(threading.Thread(target=_try, args=(passwords, refused)))
    for thread in threads[:20]:
        thread.start()
    for _ in range(2):
        assert slow.begun.acquire(timeout=30)
    threads[20].start()
    served = slow.begun.acquire(timeout=30)
    slow.go_on.set()
    for thread in threads:
        thread.join(30)
    assert served
    assert slow.most == 3
    assert 0 < len(refused) <= 16


def test_new_passwords_have_slots_of_their_own() -> None:
    """While signing in is full, a new password is hashed; and the other way round."""
    full = Passwords(CHEAP, at_once=0, waiting=0)
    assert full.hash(SENTENCE)
    with pytest.raises(RateLimited):
        full.verify(None, SENTENCE)
