"""A refusal takes the same time whether the account exists or not."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import delete

from keystead.domain.errors import Invalid
from keystead.domain.events import Origin
from keystead.domain.passwords import Password
from keystead.services.accounts import Accounts
from keystead.services.passwords import Passwords
from keystead.services.sign_in import SignIn
from keystead.storage.schema.tables import throttles
from tests.support.administrator import write_behind
from tests.support.installations import SandboxInstallation
from tests.support.people import RIGHT, WRONG, People, email_of

PAIRS = 2_000
"""The number of pairs: fewer than for tokens, since the bound is 5 ms, and a hash's spread below 1 ms."""
GATE_SECONDS = 0.005
HOME = Origin("192.0.2.1")
RESAMPLES = 1_000


def _seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    with pytest.raises(Invalid):
        act()
    return time.perf_counter() - start


def _interval(differences: list[float]) -> tuple[float, float]:
    """Return the 99 % interval of the median, by resampling: the samples are not independent, so no t-test."""
    chance = random.Random(18)
    medians = sorted(
        statistics.median(chance.choices(differences, k=len(differences))) for _ in range(RESAMPLES)
    )
    return medians[RESAMPLES // 200], medians[-RESAMPLES // 200 - 1]


def _measured(
    sign_in: SignIn, sandbox: SandboxInstallation, known: str, unknown: str
) -> list[float]:
    """Return by how many seconds each refusal of the known email took longer; the order of the two is random."""
    chance, differences = random.Random(17), []
    for _ in range(PAIRS):
        taken = {}
        for email in chance.sample([known, unknown], 2):
            attempt = partial(sign_in.with_password, email, Password(WRONG), HOME)
            taken[email] = _seconds(attempt)
        differences.append(taken[known] - taken[unknown])
        with write_behind(sandbox.database) as tx:
            tx.execute(delete(throttles))
    return differences


@pytest.mark.prove
def test_known_and_unknown_take_as_long(own_sandbox: SandboxInstallation) -> None:
    """The median difference of paired refusals, known against unknown, is within five milliseconds (R68)."""
    people, real = People(own_sandbox), Passwords()
    ada = people.owner()
    accounts = Accounts(own_sandbox.database, own_sandbox.clock, real)
    accounts.change_password(people.signed_in(ada), Password(RIGHT))
    sign_in = SignIn(own_sandbox.database, own_sandbox.clock, real)
    differences = _measured(sign_in, own_sandbox, email_of(ada), f"x{email_of(ada)}")
    low, high = _interval(differences)
    assert -GATE_SECONDS < low <= high < GATE_SECONDS
