"""Revocations: what ends a session or a role applies to the next request, even under concurrent requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import httpx2
import pytest

from keystead.domain.passwords import Password
from keystead.domain.token import Secret
from keystead.domain.verification import Denied
from keystead.domain.workspaces import Member, Role
from keystead.storage.tables import users
from tests.developer_area.conftest import Area, session_of
from tests.support.administrator import write_behind
from tests.support.browser import Browser, Page, filled
from tests.support.people import acting
from tests.support.sample_workspace import PASSWORD

POLLERS = 3
SHORT, LONG = 2, 170
"""Rounds for each revocation, on each engine; six revocations of 170 rounds make more than a thousand."""


class Watched:
    """A user's session in one browser, and in others that stole its cookie and send requests all the time."""

    def __init__(self, area: Area, member: Member) -> None:
        self.area, self.member = area, member
        self.browser = area.signed_in(member)
        self.create = self._create_form()
        self._stop = Event()
        self._answers: list[tuple[float, bool]] = []

    @property
    def secret(self) -> Secret:
        """The session's secret."""
        return Secret(session_of(self.browser))

    def ask(self) -> Page:
        """Open the page of keys with the stolen cookie."""
        return self.thief().open(self.area.keys_url)

    def thief(self) -> Browser:
        """Return a browser with the same cookies."""
        thief = self.area.browser()
        thief.cookies = httpx2.Cookies(self._cookies)
        return thief

    def opens(self) -> bool:
        """Return whether the cookie still opens the page."""
        seen = self.ask()
        return seen.status == 200 and seen.path == self.area.keys_url

    def may_make_a_key(self) -> bool:
        """Return whether the cookie still opens the form for a new key."""
        return self.thief().open(f"{self.area.keys_url}/new").status == 200

    def makes_a_key(self) -> bool:
        """Return whether the form that was opened before is still accepted."""
        return self.thief().post(self.area.keys_url, self.create).status == 201

    def _create_form(self) -> list[tuple[str, str]]:
        self._cookies = httpx2.Cookies(self.browser.cookies)
        page = self.browser.open(f"{self.area.keys_url}/new")
        form = page.form(self.area.keys_url)
        return filled(form, {"description": "late", "expiry": "30", **_narrow(page)})

    @contextmanager
    def polled(self, works: Callable[[], bool]) -> Iterator[None]:
        """Poll meanwhile; raise AssertionError for a request that began after the block and still worked."""
        with ThreadPoolExecutor(POLLERS) as pool:
            polls = [pool.submit(self._poll, works) for _ in range(POLLERS)]
            try:
                wait_for(lambda: len(self._answers) >= POLLERS)
                yield
                ended = time.perf_counter()
                wait_for(lambda: sum(started > ended for started, _ in self._answers) >= POLLERS)
            finally:
                self._stop.set()
            for poll in polls:
                poll.result()
        assert self._answers[0][1], "it never worked"
        assert not any(worked for started, worked in self._answers if started > ended)

    def _poll(self, works: Callable[[], bool]) -> None:
        while not self._stop.is_set():
            started = time.perf_counter()
            self._answers.append((started, works()))


def _narrow(page: Page) -> dict[str, str]:
    choices = [e.attributes["value"] for e in page.tree.all("input", name="access")]
    return {"access": next(c for c in choices if "read" in c)}


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def signing_out(area: Area, watched: Watched) -> None:
    """Sign out in the user's own browser."""
    watched.browser.submit(watched.browser.open(area.keys_url), "/sign-out")


def changing_the_password(area: Area, watched: Watched) -> None:
    """Change the user's password in another session."""
    secret, _ = area.services.sign_in.make_link(watched.member)
    other = area.services.sign_in.redeem(secret).secret
    area.services.accounts.change_password(other, Password(PASSWORD))


def ending_the_session(area: Area, watched: Watched) -> None:
    """End the session from the user's list of sessions."""
    secret, _ = area.services.sign_in.make_link(watched.member)
    other = area.services.sign_in.redeem(secret).secret
    area.services.accounts.end_other_sessions(other)


def removing_the_member(area: Area, watched: Watched) -> None:
    """Remove the member, as an owner."""
    area.services.members.remove(acting(area.owner, area.clock.now()), watched.member.user.id)


def taking_the_role(area: Area, watched: Watched) -> None:
    """Make the developer a viewer, as an owner."""
    owner = acting(area.owner, area.clock.now())
    area.services.members.change_role(owner, watched.member.user.id, Role.VIEWER)


ENDS_THE_SESSION = [
    signing_out,
    changing_the_password,
    ending_the_session,
    removing_the_member,
]
rounds = pytest.mark.parametrize(
    "rounds", [SHORT, pytest.param(LONG, marks=[pytest.mark.prove, pytest.mark.timeout(1800)])]
)


def developer(area: Area, number: int) -> Member:
    """Create a developer with an email of their own."""
    member = area.member(Role.DEVELOPER)
    with write_behind(area.installation.database) as tx:
        users.set_email(tx, member.user.id, f"dev{number}@keys.example")
    return member


@pytest.mark.slow_on("postgresql")
@rounds
@pytest.mark.parametrize("end", ENDS_THE_SESSION, ids=lambda end: end.__name__)
def test_a_session_that_ends_opens_nothing(
    each_area: Area, end: Callable[[Area, Watched], None], rounds: int
) -> None:
    """The stolen cookie is refused from the next request on, for pages and for forms opened before."""
    each_area.services.workspaces.set_plan(each_area.workspace_id, "scale")
    for number in range(rounds):
        watched = Watched(each_area, developer(each_area, number))
        with watched.polled(watched.opens):
            end(each_area, watched)
        assert not watched.makes_a_key()
        assert each_area.active() == 0


@rounds
def test_a_removed_role_allows_nothing(each_area: Area, rounds: int) -> None:
    """A form that a developer has opened is refused once they are a viewer; they can still view."""
    each_area.services.workspaces.set_plan(each_area.workspace_id, "scale")
    for number in range(rounds):
        watched = Watched(each_area, developer(each_area, number))
        with watched.polled(watched.may_make_a_key):
            taking_the_role(each_area, watched)
        assert not watched.makes_a_key()
        assert watched.opens()


@rounds
def test_a_suspended_workspace_has_no_working_key(each_area: Area, rounds: int) -> None:
    """From the suspension on the workspace's keys are refused, including new ones, and its pages say so."""
    token = each_area.key("sync").reveal()

    def works() -> bool:
        return not isinstance(each_area.services.verifier.verify(token), Denied)

    for _ in range(rounds):
        watched = Watched(each_area, each_area.owner)
        with watched.polled(works):
            each_area.services.workspaces.suspend(each_area.workspace_id)
        assert "This workspace is suspended" in watched.ask().tree.text
        each_area.services.workspaces.resume(each_area.workspace_id)


def test_an_action_that_ends_nothing_is_detected(area: Area) -> None:
    """The test itself can fail: it notices an action that ends nothing."""
    watched = Watched(area, developer(area, 0))
    with pytest.raises(AssertionError), watched.polled(watched.opens):
        pass
