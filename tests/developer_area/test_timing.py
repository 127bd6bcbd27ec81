"""Time tells strangers nothing: paired measurements in random order, judged by a bootstrap of the median difference."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import pytest

from keystead.domain.token import checksum, parse
from keystead.storage.schema.tables import throttles
from tests.support.administrator import write_behind
from tests.support.guessing import ADDRESSES, Guesser
from tests.support.sample_workspace import EMAIL
from tests.support.server_process import HOST, serving
from tests.support.surface import Survey

LOGIN_SECONDS: Final = 0.005
TOKEN_SECONDS: Final = 0.000_050
LOGIN_PAIRS, TOKEN_PAIRS = 400, 20_000
RESAMPLES, SAMPLE = 1_000, 2_000

Act = Callable[[], None]


def differences(one: Act, other: Act, pairs: int) -> list[float]:
    """Seconds that `one` took longer than `other`, for each pair; which comes first is drawn by lot."""
    found = []
    for _ in range(pairs):
        first_is_one = random.random() < 0.5
        first, second = (one, other) if first_is_one else (other, one)
        spent = seconds(first), seconds(second)
        found.append(spent[0] - spent[1] if first_is_one else spent[1] - spent[0])
    return found


def seconds(act: Act) -> float:
    """How long it took."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def interval(found: list[float]) -> tuple[float, float]:
    """A bootstrap interval of 99 % for the median; from samples of at most 2,000, which only makes it wider."""
    size = min(len(found), SAMPLE)
    medians = [median(random.choices(found, k=size)) for _ in range(RESAMPLES)]
    bounds = quantiles(medians, n=200)
    return bounds[0], bounds[-1]


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_known_and_unknown_people_take_the_same_time(survey: Survey, tmp_path: Path) -> None:
    """A wrong password for somebody who exists takes as long as one for nobody, to 5 milliseconds."""
    with survey.copied(tmp_path) as sandbox:
        guesser = Guesser(sandbox)

        def guess(email: str) -> None:
            assert guesser.guess(email, "not the right words", random.choice(ADDRESSES)) == 422
            with write_behind(sandbox.area.installation.database) as tx:
                tx.execute(throttles.delete())

        found = differences(lambda: guess(EMAIL), lambda: guess("nobody@keys.example"), LOGIN_PAIRS)
    low, high = interval(found)
    assert -LOGIN_SECONDS < low < high < LOGIN_SECONDS


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_refused_tokens_take_the_same_time(tmp_path: Path) -> None:
    """Whether the key exists, and how much of its secret is right, takes the same time, to 50 microseconds."""
    with serving(f"sqlite:///{tmp_path / 'keystead.db'}") as server:
        good = server.token()
        connection = HTTPConnection(HOST, server.port, timeout=10)
        wrong_first, wrong_last = changed(good, -49), changed(good, -7)
        unknown = changed(good, -51)

        def send(token: str) -> None:
            headers = {"Authorization": f"Bearer {token}"}
            connection.request("GET", "/v1/whoami", headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 401

        for one, other in ((unknown, wrong_last), (wrong_first, wrong_last)):
            found = differences(
                lambda one=one: send(one),  # type: ignore[misc]
                lambda other=other: send(other),  # type: ignore[misc]
                TOKEN_PAIRS,
            )
            low, high = interval(found)
            assert -TOKEN_SECONDS < low < high < TOKEN_SECONDS
        connection.close()


def changed(token: str, place: int) -> str:
    """The token with another character at that place, and the checksum that belongs to it."""
    body = token[:-6]
    at = len(token) + place
    other = "0" if body[at] != "0" else "1"
    body = body[:at] + other + body[at + 1 :]
    text = body + checksum(body)
    assert parse(text) is not None
    return text


@pytest.mark.slow
def test_a_difference_is_found() -> None:
    """The judgement can fail: half a millisecond more is seen, and equal acts are not told apart."""
    same = [random.gauss(0, 0.001) for _ in range(4_000)]
    slower = [value + 0.000_5 for value in same]
    low, high = interval(same)
    assert low < 0 < high or abs(low) < TOKEN_SECONDS * 2
    assert interval(slower)[0] > TOKEN_SECONDS
