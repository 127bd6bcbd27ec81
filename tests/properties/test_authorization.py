"""Authorization values of every kind, read from the header and verified: one meaning, or a refusal (E19)."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from keystead.domain.errors import InvalidRequest, InvalidToken, Unauthenticated
from keystead.domain.ids import ALPHABET
from keystead.domain.token import checksum
from keystead.domain.verification import DenialReason, Denied, Verified
from keystead.http.bearer import read_bearer
from tests.support.installations import SandboxInstallation, text_of

Mangle = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True)
class Bunch:
    """Tokens of each kind."""

    live: bytes
    dead: bytes
    foreign: bytes


def _bunch(sandbox: SandboxInstallation) -> Bunch:
    tenant = sandbox.tenant()
    live, dead = sandbox.key(tenant), sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, dead.key.id)
    body = text_of(live)[:26] + "0" * 43
    return Bunch(text_of(live).encode(), text_of(dead).encode(), (body + checksum(body)).encode())


def _any_byte(dice: random.Random) -> bytes:
    return bytes([dice.randrange(256)])


def _at(dice: random.Random, token: bytes, put: bytes, cut: int = 0) -> bytes:
    place = dice.randrange(len(token) + 1)
    return token[:place] + put + token[place + cut :]


MANGLES: dict[str, Mangle] = {
    "as it is": lambda _, token: token,
    "one byte more": lambda dice, token: _at(dice, token, _any_byte(dice)),
    "one byte less": lambda dice, token: _at(dice, token, b"", 1),
    "one byte other": lambda dice, token: _at(dice, token, _any_byte(dice), 1),
    "one letter other": lambda dice, token: _at(dice, token, dice.choice(ALPHABET).encode(), 1),
    "a part": lambda dice, token: token[dice.randrange(40) : dice.randrange(len(token) + 1)],
    "twice": lambda dice, token: token + dice.choice([b"", b" ", b",", b", Bearer "]) + token,
    "in another case": lambda dice, token: dice.choice(
        [token.upper(), token.lower(), token.swapcase()]
    ),
    "quoted": lambda dice, token: (
        dice.choice([b'"%s"', b"<%s>", b"'%s'", b"token=%s", b"%s=="]) % token
    ),
    "encoded": lambda dice, token: dice.choice([base64.b64encode, base64.b16encode])(token),
    "percent": lambda _, token: b"".join(b"%%%02X" % byte for byte in token),
    "wide": lambda dice, token: token.decode().encode(dice.choice(["utf-16", "utf-32", "utf-7"])),
    "with a zero": lambda dice, token: _at(dice, token, b"\0"),
    "very long": lambda dice, token: token * dice.randrange(2, 200),
    "noise": lambda dice, _: dice.randbytes(dice.randrange(120)),
    "letters": lambda dice, _: "".join(
        dice.choices(ALPHABET + "_", k=dice.randrange(120))
    ).encode(),
}
SCHEMES = (b"Bearer ", b"bearer ", b"BEARER  ", b"bEaReR    ")
ODD_SCHEMES = (
    b"",
    b"Bearer",
    b"Bearer\t",
    b"Basic ",
    b"Token ",
    b"Bearer,",
    b"Bearer: ",
    b"\xa0Bearer ",
    b"Bearer\0 ",
)


def _meaning(sandbox: SandboxInstallation, value: bytes) -> str:
    """Return verified, the denial's reason, or the name of the refusal."""
    try:
        text = read_bearer([(b"authorization", value)])
    except (Unauthenticated, InvalidToken, InvalidRequest) as refused:
        return refused.code
    verdict = sandbox.services.verifier.verify(text)
    return str(verdict.reason) if isinstance(verdict, Denied) else "verified"


@pytest.mark.parametrize("seed", range(5))
def test_twenty_thousand_values(sandbox: SandboxInstallation, seed: int) -> None:
    """Each of 200,000 values is one token and verified, or refused: only the live token itself is ever accepted."""
    bunch = _bunch(sandbox)
    dice = random.Random(seed)
    kinds, schemes = list(MANGLES.values()), [*SCHEMES * 3, *ODD_SCHEMES]
    seen: dict[str, int] = {}
    for _ in range(20_000):
        token = dice.choice([bunch.live, bunch.live, bunch.dead, bunch.foreign])
        mangled = dice.choice(kinds)(dice, token)
        value = (
            dice.choice(schemes) + mangled + dice.choice([b"", b"", b" ", b"\t", b"\r\n", b"\x85"])
        )
        meaning = _meaning(sandbox, value)
        seen[meaning] = seen.get(meaning, 0) + 1
        scheme, _, rest = value.strip(b" \t").partition(b" ")
        alone = scheme.lower() == b"bearer" and rest.strip(b" ") == bunch.live
        assert (meaning == "verified") == alone, meaning
        if meaning == "revoked":
            assert bunch.dead in value
    assert {"verified", "revoked", "unknown", "malformed", "invalid-token"} <= set(seen)
    assert min(seen.values()) > 50


def test_every_scheme(sandbox: SandboxInstallation) -> None:
    """The scheme is accepted in any case and with any number of spaces, and in no other form (RFC 9110)."""
    live = _bunch(sandbox).live
    for scheme in SCHEMES:
        assert _meaning(sandbox, scheme + live) == "verified"
    for scheme in ODD_SCHEMES:
        assert _meaning(sandbox, scheme + live) in {"unauthenticated", "invalid-token"}


def test_never_two(sandbox: SandboxInstallation) -> None:
    """Two fields are refused in any order and any case of their name, even if both contain the live token."""
    live = b"Bearer " + _bunch(sandbox).live
    for one, other in ((b"authorization", b"Authorization"), (b"AUTHORIZATION", b"authorization")):
        for values in ((live, live), (live, b"Basic eA=="), (b"", live)):
            with pytest.raises(InvalidRequest):
                read_bearer(list(zip((one, other), values, strict=True)))


def test_reasons_stay_inside(sandbox: SandboxInstallation) -> None:
    """The reason of a denial names the key only to a holder of its secret, not to a forged token (R4, R15)."""
    bunch = _bunch(sandbox)
    forged = sandbox.services.verifier.verify(bunch.foreign.decode())
    assert forged == Denied(DenialReason.UNKNOWN)
    assert isinstance(sandbox.services.verifier.verify(bunch.live.decode()), Verified)
