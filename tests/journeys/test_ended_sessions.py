"""The end of a session costs nothing: one sign-in, where the user was, and what they were doing goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page, expect

from keystead.bootstrap import Installation
from keystead.cli.serve import fresh_link
from keystead.domain.credentials import ActingCredential
from keystead.domain.keys import KeyDraft
from keystead.domain.passwords import Password
from keystead.domain.portal import PortalRequest, PortalUser
from keystead.domain.principals import Actor, PrincipalKind, of_member
from keystead.domain.sessions import LinkPurpose
from keystead.domain.workspaces import Role
from keystead.storage.tables import users
from tests.support.administrator import write_behind
from tests.support.chromium import act_on, enter, person, require_accessible, row
from tests.support.people import RIGHT
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.slow
EMAIL = "ada@keys.example"
SIGN_IN = "Sign in"
PROOF = "Confirm it's you"


@pytest.fixture(scope="module", autouse=True)
def password(installation: Installation) -> None:
    """The owner has an email and a password."""
    services, owner = installation.services, installation.services.workspaces.first()
    with write_behind(installation.database) as tx:
        users.set_email(tx, owner.user.id, EMAIL)
    link, _ = services.sign_in.make_link(owner, LinkPurpose.PASSWORD)
    services.accounts.change_password(services.sign_in.redeem(link).secret, Password(RIGHT))


@contextmanager
def at_the_keys(
    browser: Browser, server: ServerProcess, installation: Installation, *, scripts: bool = True
) -> Iterator[Page]:
    """Yield the page of the owner, who has just signed in."""
    with person(browser, base_url=server.base_url, java_script_enabled=scripts) as page:
        enter(page, fresh_link(installation, server.base_url)[0])
        yield page


@pytest.fixture
def page(browser: Browser, server: ServerProcess, installation: Installation) -> Iterator[Page]:
    """The same with scripts, for a whole test."""
    with at_the_keys(browser, server, installation) as page:
        yield page


Aging = Callable[[Installation], None]


def of_session(installation: Installation) -> None:
    """Let every session expire: it was last used long ago."""
    age(installation, "seen_at")


def of_proof(installation: Installation) -> None:
    """Let every proof of identity grow old; the sessions go on."""
    age(installation, "signed_in_at")


def age(installation: Installation, column: str) -> None:
    """Move a time of all sessions to long ago."""
    with write_behind(installation.database) as tx:
        tx.exec_driver_sql(f"UPDATE sessions SET {column} = 1000000")


AGINGS = pytest.mark.parametrize(
    ("aging", "question"), [(of_session, SIGN_IN), (of_proof, PROOF)], ids=["session", "proof"]
)


def answer(page: Page, question: str) -> None:
    """Enter the password where the page asks for it."""
    expect(page.get_by_role("heading", name=question, exact=True)).to_be_visible()
    if question == SIGN_IN:
        page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").fill(RIGHT)
    button = SIGN_IN if question == SIGN_IN else "Continue"
    page.get_by_role("button", name=button, exact=True).click()


@AGINGS
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_key_is_made_with_one_sign_in(
    browser: Browser,
    server: ServerProcess,
    installation: Installation,
    aging: Aging,
    question: str,
    scripts: bool,
) -> None:
    """The form was open when the session ended: one password, and the token is shown, in the dialog if it was there."""
    name = f"after the end {question} {scripts}"
    with at_the_keys(browser, server, installation, scripts=scripts) as page:
        page.get_by_role("link", name="Create key").click()
        page.get_by_label("Description").fill(name)
        page.get_by_label("90 days").check()
        page.get_by_label("Full access").check()
        aging(installation)
        page.get_by_role("button", name="Create key").click()
        answer(page, question)
        expect(page.get_by_role("heading", name="Copy your API key now")).to_be_visible()
        expect(page.locator("dialog[open]")).to_have_count(1 if scripts else 0)
        if scripts:
            page.get_by_role("button", name="Copy key").click()
        page.get_by_role("link", name="Done").click()
        expect(row(page, name)).to_have_count(1)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name=SIGN_IN, exact=True)).to_be_visible()


@AGINGS
def test_an_edit_goes_on_where_it_was(
    page: Page, installation: Installation, aging: Aging, question: str
) -> None:
    """A form whose answer replaces the list asks in its dialog, twice if need be, and returns to the same list."""
    owner = of_member(installation.services.workspaces.first())
    name = f"to edit {question}"
    installation.services.keys.create(owner, KeyDraft(name, None, ["documents:read"]))
    page.goto(page.url.partition("?")[0] + "?show=endless")
    act_on(page, name, "Edit")
    page.get_by_label("Description").fill(f"{name}, edited")
    page.get_by_text("More options").click()
    page.get_by_label("This key may rotate itself").check()
    aging(installation)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name=question, exact=True)).to_be_visible()
    require_accessible(page)
    if question == SIGN_IN:
        page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]").get_by_role("alert")).to_contain_text("Wrong")
    answer(page, question)
    expect(page.get_by_role("status").first).to_contain_text("was saved.")
    expect(page.locator("dialog")).to_be_hidden()
    expect(page).to_have_url(re.compile("show=endless"))
    expect(row(page, f"{name}, edited")).to_have_count(1)


def test_a_dialog_asks_before_it_opens(page: Page, installation: Installation) -> None:
    """A link that opens a dialog asks in the dialog, which then shows its form; what is behind goes on as before."""
    of_session(installation)
    page.get_by_role("link", name="Create key").click()
    answer(page, SIGN_IN)
    dialog = page.locator("dialog[open]")
    expect(dialog.get_by_role("heading", name="Create an API key")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name=SIGN_IN, exact=True)).to_be_visible()


def test_a_gateways_error_leaves_the_sign_in_in_its_dialog(
    browser: Browser, installation: Installation, server: ServerProcess
) -> None:
    """When the sign-in fails on its way, the dialog says so, and sends it again with what was entered."""
    with person(browser, failing=True, base_url=server.base_url) as page:
        enter(page, fresh_link(installation, server.base_url)[0])
        of_session(installation)
        page.get_by_role("link", name="Create key").click()
        page.route("**/sign-in", lambda sent: sent.fulfill(status=502, body="Bad"), times=1)
        answer(page, SIGN_IN)
        dialog = page.locator("dialog[open]")
        expect(dialog.get_by_role("alert")).to_contain_text("(502)")
        dialog.get_by_role("button", name="Try again").click()
        expect(dialog.get_by_role("heading", name="Create an API key")).to_be_visible()


def test_another_person_gets_a_page_of_their_own(
    page: Page, installation: Installation, server: ServerProcess
) -> None:
    """Another user who signs in within the dialog never sends the form, and sees nothing of the page behind it."""
    services, owner = installation.services, installation.services.workspaces.first()
    dana = "dana@keys.example"
    invited, _ = services.invitations.invite(of_member(owner), dana, Role.VIEWER)
    services.invitations.accept(invited, "Dana", Password(RIGHT))
    for is_late in (True, False):
        if is_late:
            of_session(installation)
            page.get_by_role("link", name="Create key").click()
        else:
            page.get_by_role("link", name="Create key").click()
            page.get_by_label("Description").fill("not by Dana")
            page.get_by_label("90 days").check()
            page.get_by_label("Full access").check()
            of_session(installation)
            page.get_by_role("button", name="Create key").click()
        page.get_by_label("Email").fill(dana)
        page.get_by_label("Password").fill(RIGHT)
        page.get_by_role("button", name=SIGN_IN, exact=True).click()
        expect(page.locator(".side-person")).to_contain_text("Dana")
        expect(page.locator("dialog")).to_be_hidden()
        expect(row(page, "not by Dana")).to_have_count(0)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name=SIGN_IN, exact=True)).to_be_visible()
        enter(page, fresh_link(installation, server.base_url)[0])


def test_the_products_second_link_needs_no_click(
    browser: Browser, installation: Installation, server: ServerProcess
) -> None:
    """A product's user continues once in a browser; the next link signs them in by itself, and not without scripts."""
    services, owner = installation.services, installation.services.workspaces.first()
    made, _ = services.credentials.create("p", Actor(PrincipalKind.OPERATOR, "cli", "Command line"))
    product = ActingCredential(made.id, made.kind, made.name)

    def link() -> str:
        request = PortalRequest(owner.workspace_id, PortalUser("p1", "Pat"), Role.DEVELOPER)
        return f"/sign-in?link={services.portal_sessions.create(product, request)[0].reveal()}"

    with person(browser, base_url=server.base_url) as page:
        enter(page, link())
        state = page.context.storage_state()
        page.get_by_role("button", name="Sign out").click()
        page.goto(link())
        expect(page.get_by_role("heading", name="API keys")).to_be_visible()
    with person(
        browser, base_url=server.base_url, storage_state=state, java_script_enabled=False
    ) as page:
        enter(page, link())


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("Asia/Kolkata", "IST"),
        ("Australia/Lord_Howe", r"UTC\+1[01]:[03]0"),
        ("Pacific/Honolulu", "HST"),
    ],
)
def test_dates_are_the_users(
    browser: Browser, installation: Installation, server: ServerProcess, zone: str, name: str
) -> None:
    """From the first sign-in on: each choice shows its time in the browser's zone, a day ends at 23:59:59 there."""
    services = installation.services
    workspace = services.workspaces.create(f"Of {zone}", owner="Zoe")
    link = fresh_link(installation, server.base_url, workspace.id)[0]
    with person(browser, base_url=server.base_url, timezone_id=zone) as page:
        enter(page, link)
        said = re.compile(
            r"Times are shown in your time zone, \w+/(Kolkata|Calcutta|Lord_Howe|Hon)"
        )
        expect(page.get_by_role("status").first).to_contain_text(said)
        page.get_by_role("link", name="Create key").click()
        page.get_by_label("Description").fill("dated")
        until = re.compile(rf"until \d+ \w+ 20\d\d, \d\d:\d\d:\d\d {name}")
        expect(page.locator("dialog .choice").filter(has_text="30 days")).to_contain_text(until)
        page.get_by_label("Full access").check()
        page.get_by_label("Custom date").check()
        day = page.get_by_label("Last day", exact=True)
        year = datetime.now(UTC).year + 1
        for number, month in (("01", "Jan"), ("07", "Jul")):
            day.fill(f"{year}-{number}-15")
            end = re.compile(rf"Until 15 {month} {year}, 23:59:59 {name}, in \d+ \w+\.")
            expect(page.locator("output[for=expires-on]")).to_contain_text(end)
        shown = page.locator("output[for=expires-on]").inner_text()
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_role("heading", name="Copy your API key now")).to_be_visible()
        exact = shown.removeprefix("Until ").rpartition(",")[0]
        expect(page.locator("dialog")).to_contain_text(exact)
        page.get_by_role("button", name="Copy key").click()
