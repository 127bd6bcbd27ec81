"""Tokens cannot be guessed: no duplicates, no character more likely than another, no repeats by forks (E24)."""

from __future__ import annotations

import ast
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import keystead
from keystead.domain.ids import ALPHABET, number_of
from keystead.domain.token import SECRET_WIDTH, Secret, mint
from tests.support.clocks import NOON

SPACE = 1 << 256
RANDOM_BITS = (1 << 12) - 1 << 64 | (1 << 62) - 1
FORKED = """
import os, sys
from keystead.domain.token import mint
from tests.support.clocks import NOON
mint("ks", NOON)
for worker in range(4):
    if os.fork() == 0:
        with open(f"{sys.argv[1]}/{worker}", "w") as file:
            print(*(mint("ks", NOON).reveal() for _ in range(2000)), file=file)
        os._exit(0)
for _ in range(4):
    os.wait()
"""


def _expected(place: int) -> list[float]:
    """Return the probability of each digit at a place of a number below 2**256 in base 62; the highest place is 0."""
    unit = 62 ** (SECRET_WIDTH - 1 - place)
    cycles, rest = divmod(SPACE, 62 * unit)
    counts = [cycles * unit + min(max(rest - digit * unit, 0), unit) for digit in range(62)]
    return [count / SPACE for count in counts]


def _surprise(observed: Counter[str], expected: list[float], total: int) -> float:
    """Return the probability of a chi-squared statistic at least as high (Wilson and Hilferty's approximation)."""
    likely = [(ALPHABET[digit], total * p) for digit, p in enumerate(expected) if total * p >= 5]
    assert sum(observed.values()) == total
    statistic = sum((observed[digit] - mean) ** 2 / mean for digit, mean in likely)
    freedom = len(likely) - 1
    cube = (statistic / freedom) ** (1 / 3)
    deviation = (cube - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    return math.erfc(deviation / math.sqrt(2)) / 2


def _examine(total: int) -> None:
    tokens = [mint("ks", NOON) for _ in range(total)]
    secrets = [token.reveal()[26:69] for token in tokens]
    assert len(set(secrets)) == total
    assert len({token.key_id for token in tokens}) == total
    for place, column in enumerate(zip(*secrets, strict=True)):
        assert _surprise(Counter(column), _expected(place), total) > 1e-6, place
    ones = [0] * 128
    for token in tokens[:20_000]:
        number = number_of(token.key_id)
        for bit in range(128):
            ones[bit] += number >> bit & 1
    checked = min(total, 20_000)
    for bit in range(128):
        if RANDOM_BITS >> bit & 1:
            assert abs(ones[bit] - checked / 2) < 5 * math.sqrt(checked) / 2, bit


def test_twenty_thousand_tokens() -> None:
    """20,000 tokens are all different, and every character of the secret is as likely as it should be."""
    _examine(20_000)


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_a_million_tokens() -> None:
    """1,000,000 tokens are all different, and every character of the secret is as likely as it should be (R1)."""
    _examine(1_000_000)


def test_forked_workers_share_nothing(tmp_path: Path) -> None:
    """Four workers forked from one process create no secret and no id twice."""
    subprocess.run([sys.executable, "-c", FORKED, tmp_path], check=True, timeout=60)
    tokens = [token for file in tmp_path.iterdir() for token in file.read_text().split()]
    assert len(tokens) == 8000
    assert len({token[3:25] for token in tokens}) == 8000
    assert len({token[26:69] for token in tokens}) == 8000


def test_sign_in_secrets() -> None:
    """20,000 sign-in secrets are all different, and every bit of them is set as often as not."""
    secrets = [Secret.fresh().reveal() for _ in range(20_000)]
    assert len(set(secrets)) == 20_000
    for column in list(zip(*secrets, strict=True))[:-1]:
        counts = Counter(column)
        assert len(counts) == 64
        statistic = sum((count - 312.5) ** 2 / 312.5 for count in counts.values())
        assert statistic < 150


def test_no_other_generator() -> None:
    """Nothing that creates ids or secrets draws from `random`: all randomness is the operating system's (R1)."""
    product = Path(keystead.__file__).parent
    for layer in ("domain", "storage", "services"):
        for file in (product / layer).rglob("*.py"):
            imported = {
                name
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.Import | ast.ImportFrom)
                for name in (getattr(node, "module", None), *(alias.name for alias in node.names))
            }
            assert "random" not in imported, file
