"""Guessing passwords over HTTP: so many are looked at and no more, and the owner always gets in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.browser import Browser, Page
from tests.support.guessing import ADDRESSES, Guesser
from tests.support.sample_workspace import EMAIL, PASSWORD
from tests.support.surface import Survey

MOST_LOOKED_AT = 100
LOOKED_AT, SENT_AWAY = 422, 429
VARYING = {"x-request-id", "content-length", "set-cookie"}
"""Headers that differ from one answer to the next; the length counts the address that was typed."""


def entered(browser: Browser) -> Page:
    """What the owner sees who signs in by password in that browser."""
    page = browser.open("/sign-in")
    return browser.submit(page, "/sign-in", email=EMAIL, password=PASSWORD)


@pytest.mark.slow
def test_a_thousand_guesses_at_one_account(survey: Survey, tmp_path: Path) -> None:
    """From 50 addresses, an hour apart: at most 100 are looked at; a known device and a link still open the door."""
    with survey.copied(tmp_path) as furnished:
        home = furnished.area.browser()
        assert entered(home).status == 200
        home.submit(home.open(f"{furnished.sample.base}/keys"), "/sign-out")
        guesser, answers = Guesser(furnished), Counter[int]()
        for number in range(1_000):
            address = ADDRESSES[number % 50]
            answers[guesser.guess(EMAIL, f"guess number {number} of mine", address)] += 1
            furnished.area.clock.advance(hours=1)
        assert answers[LOOKED_AT] <= MOST_LOOKED_AT
        assert answers == {LOOKED_AT: answers[LOOKED_AT], SENT_AWAY: 1_000 - answers[LOOKED_AT]}
        assert answers[LOOKED_AT] >= 50, "the throttle answers before anybody guessed"
        assert guesser.guess(EMAIL, PASSWORD, ADDRESSES[0]) == SENT_AWAY
        assert entered(home).path.startswith("/w/")
        stranger = furnished.area.browser()
        linked = stranger.submit(stranger.open(furnished.sample.link()), "/sign-in")
        assert linked.status == 200


def test_a_burst_is_slowed_down(survey: Survey, tmp_path: Path) -> None:
    """Without waiting, a handful of guesses is looked at."""
    with survey.copied(tmp_path) as furnished:
        guesser = Guesser(furnished)
        statuses = [guesser.guess(EMAIL, "wrong words again", a) for a in ADDRESSES]
        assert statuses.count(LOOKED_AT) <= 10
        assert set(statuses) == {LOOKED_AT, SENT_AWAY}


@pytest.mark.slow
def test_one_password_over_many_accounts(survey: Survey, tmp_path: Path) -> None:
    """From one address a thousand accounts cannot be tried in one go."""
    with survey.copied(tmp_path) as furnished:
        guesser = Guesser(furnished)
        accounts = [f"user{number}@keys.example" for number in range(1_000)]
        statuses = Counter(guesser.guess(a, PASSWORD, ADDRESSES[0]) for a in accounts)
        assert statuses[LOOKED_AT] <= 30
        assert statuses[LOOKED_AT] + statuses[SENT_AWAY] == 1_000


def test_only_a_proxy_is_believed(survey: Survey, tmp_path: Path) -> None:
    """Who is no proxy gains nothing by naming other addresses: all their guesses are their own address's."""
    with survey.copied(tmp_path) as furnished:
        guesser = Guesser(furnished, peer="203.0.113.9")
        accounts = [f"user{number}@keys.example" for number in range(60)]
        statuses = [guesser.guess(a, PASSWORD, f"198.51.100.{n}") for n, a in enumerate(accounts)]
        assert statuses.count(LOOKED_AT) <= 30


def test_known_and_unknown_people_look_alike(survey: Survey, tmp_path: Path) -> None:
    """A wrong password, an unknown address and an account without a password get the same answer, byte for byte."""
    answers = []
    for number, email in enumerate((EMAIL, "nobody@keys.example", "ada@keys.example")):
        with survey.copied(tmp_path / str(number)) as furnished:
            browser = furnished.area.browser()
            page = browser.open("/sign-in")
            seen = browser.submit(page, "/sign-in", email=email, password="not the right words")
            token = seen.tree.all("input", name="form_token")[0].attributes["value"]
            said = seen.html.replace(token, "").replace(email, "")
            headers = {n: v for n, v in seen.headers.items() if n not in VARYING}
            answers.append((seen.status, said, headers))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == LOOKED_AT
