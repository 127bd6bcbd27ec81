"""The headings of the user's page, tested by mouse, by keyboard alone, and without scripts, in three zones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from keystead import bootstrap
from keystead.bootstrap import Installation, open_installation
from keystead.domain.ids import WorkspaceId
from keystead.domain.key_lists import KeySelection
from keystead.domain.keys import ApiKey, KeyDraft, KeyStatus
from keystead.domain.principals import Principal, system
from tests.support.chromium import person
from tests.support.clocks import ManualClock
from tests.support.input_methods import Keyboard, Mouse, NoScripts
from tests.support.server_process import ServerProcess, serving

HANDS: list[type[Mouse]] = [Mouse, Keyboard, NoScripts]
ZONES = ["Pacific/Auckland", "America/New_York", "UTC"]
IN_TEST = set(zip(HANDS, ZONES, strict=True))
TOKEN = re.compile(r"ks_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}")


@dataclass
class Journey:
    """A user at their browser, in a workspace of their own."""

    server: ServerProcess
    installation: Installation
    clock: ManualClock
    workspace_id: WorkspaceId
    page: Page
    hand: Mouse
    zone: str
    token: str = ""

    @property
    def principal(self) -> Principal:
        """The principal that prepares data and checks the results."""
        return system(self.workspace_id)

    @property
    def keys_url(self) -> str:
        """The URL of the keys."""
        return f"/w/{self.workspace_id}/keys"

    def link(self, name: str) -> Locator:
        """Find a link by its text."""
        return self.page.get_by_role("link", name=name, exact=True).first

    def button(self, name: str) -> Locator:
        """Find a button by its text."""
        return self.page.get_by_role("button", name=name, exact=True)

    def row(self, description: str) -> Locator:
        """Find the key's row."""
        return self.page.get_by_role("row").filter(has_text=description)

    def key(self, description: str) -> ApiKey:
        """Return the key from the services."""
        keys = self.installation.services.keys.list(
            self.principal, KeySelection(query=description)
        ).items
        return keys[0]

    def older_key(self, description: str, days_ago: int = 0) -> ApiKey:
        """Create a key that is that old."""
        self.clock.set(datetime.now(UTC).replace(microsecond=0) - timedelta(days=days_ago))
        draft = KeyDraft(description)
        return self.installation.services.keys.create(self.principal, draft).key

    def works(self) -> bool:
        """Return whether a request with the token is accepted."""
        return self.server.call("GET", "/v1/whoami", token=self.token).status_code == 200

    def shown_token(self) -> str:
        """Return the token that the page shows."""
        field = self.page.get_by_label("API key", exact=True)
        token = field.input_value()
        assert TOKEN.fullmatch(token)
        return token

    def require_right_times(self, place: Locator) -> None:
        """Raise AssertionError unless each time there is shown in the user's time zone."""
        for time in place.locator("time:visible").all():
            instant = datetime.fromisoformat(str(time.get_attribute("datetime")))
            exact = time.locator("xpath=following-sibling::*[contains(@class, 'exact')][1]")
            expect(exact).to_contain_text(local_time(instant, self.zone))


def local_time(instant: datetime, zone: str) -> str:
    """Return the time as a clock in that zone shows it."""
    local = instant.astimezone(ZoneInfo(zone))
    return f"{local.day} {local:%b %Y, %H:%M:%S %Z}"


def choose_the_time_zone(journey: Journey) -> None:
    """Set the account's time zone, which all other headings depend on."""
    journey.hand.press(journey.link("Account"))
    menu = journey.page.get_by_label("Your time zone")
    if journey.zone != "UTC":
        journey.hand.pick(menu, journey.zone)
    journey.hand.press(journey.button("Save time zone"))
    expect(menu).to_have_value(journey.zone)
    journey.hand.press(journey.link("API keys"))


def creating_a_key(journey: Journey) -> None:
    """Create a key: description, expiry, access; then the token, once."""
    page, hand = journey.page, journey.hand
    hand.press(journey.link("Create key"))
    hand.write(page.get_by_label("Description"), "nightly export")
    hand.choose(page.get_by_label("90 days"))
    hand.choose(page.get_by_label("Read-only"))
    hand.press(journey.button("Create key"))
    expect(page.get_by_role("heading", name="Copy your API key now")).to_be_visible()
    journey.token = journey.shown_token()
    if hand.scripts:
        hand.press(journey.button("Copy key"))
    hand.press(journey.link("Done"))
    expect(journey.row("nightly export")).to_contain_text("Active")
    expiry = journey.key("nightly export").expires_at
    assert expiry is not None
    assert abs(expiry - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=2)
    expect(journey.row("nightly export")).to_contain_text(local_time(expiry, journey.zone))
    expect(journey.row("nightly export")).to_contain_text("in 3 months")


def using_a_key(journey: Journey) -> None:
    """Use a key: a request is accepted, and the page shows when and from where."""
    assert journey.works()
    row = journey.row("nightly export")
    for _ in range(60):
        journey.page.reload()
        if "Never used" not in row.inner_text():
            break
        journey.page.wait_for_timeout(100)
    use = journey.key("nightly export").last_use
    assert use is not None
    assert abs(use.at - datetime.now(UTC)) < timedelta(minutes=1)
    expect(row).to_contain_text(local_time(use.at, journey.zone))
    expect(row).to_contain_text("just now")
    expect(row).to_contain_text("127.0.0.1")
    journey.require_right_times(row)


def managing_your_keys(journey: Journey) -> None:
    """Manage a key: its page, another description, a successor with an overlap, and its revocation."""
    page, hand, old = journey.page, journey.hand, journey.key("nightly export")
    hand.press(journey.link("nightly export"))
    expect(page.get_by_role("heading", name="Requests", exact=True)).to_be_visible()
    journey.require_right_times(page.locator("main"))
    hand.press(page.get_by_role("link", name=re.compile("^Edit")).first)
    hand.write(page.get_by_label("Description"), "export of the night")
    hand.press(journey.button("Save"))
    expect(page.get_by_role("status").first).to_contain_text("was saved")
    expect(page.get_by_role("heading", name="export of the night")).to_be_visible()
    page.goto(f"{journey.keys_url}/{old.id}")
    hand.press(page.get_by_role("link", name=re.compile("^Rotate")).first)
    hand.choose(page.get_by_label("24 hours"))
    hand.press(journey.button("Rotate key"))
    expect(page.get_by_label("API key", exact=True)).to_be_visible()
    successor = journey.shown_token()
    if hand.scripts:
        hand.press(journey.button("Copy key"))
    hand.press(journey.link("Done"))
    assert journey.works()
    page.goto(f"{journey.keys_url}/{old.id}")
    revoke(journey, old)
    assert not journey.works()
    journey.token = successor
    assert journey.works()
    page.goto(journey.keys_url)
    hand.press(page.get_by_role("link", name=re.compile("^Revoked")))
    expect(page.locator(f"#{old.id}")).to_contain_text("Revoked")


def revoke(journey: Journey, key: ApiKey) -> None:
    """Press Revoke, type the last four characters if asked for, and press again."""
    page, hand = journey.page, journey.hand
    hand.press(page.get_by_role("link", name=re.compile(r"^Revoke\b")).first)
    expect(page.get_by_role("button", name="Revoke key")).to_be_visible()
    field = page.get_by_label(re.compile("^Type"))
    if field.count():
        hand.write(field, key.hint[-4:])
    hand.press(journey.button("Revoke key"))
    expect(page.get_by_role("status").first).to_contain_text("was revoked")


def good_habits(journey: Journey) -> None:
    """Review a key that was unused for 30 days, and revoke it from there."""
    page, hand = journey.page, journey.hand
    forgotten = journey.older_key("forgotten trial", days_ago=40)
    page.goto(journey.keys_url)
    hand.press(page.get_by_role("region", name="Needs review").get_by_role("link").first)
    expect(journey.row("forgotten trial")).to_be_visible()
    hand.press(journey.link("forgotten trial"))
    expect(page.get_by_role("heading", name="forgotten trial")).to_be_visible()
    revoke(journey, forgotten)
    assert journey.key("forgotten trial").revoked_at is not None


def how_many_keys(journey: Journey) -> None:
    """Reach the limit: the page says so, names the safest keys to revoke, and continues once there is room."""
    page, hand = journey.page, journey.hand
    while (quota := journey.installation.services.keys.list(journey.principal, limit=1).quota).room:
        journey.older_key(f"spare {quota.used}")
    page.goto(journey.keys_url)
    expect(page.get_by_text("5 of 5 active keys").first).to_be_visible()
    expect(journey.button("Create key")).to_be_disabled()
    notice = page.get_by_role("region", name="You've reached your key limit")
    hand.press(notice.get_by_role("link", name="Revoke spare 2"))
    hand.press(journey.button("Revoke key"))
    expect(page.get_by_role("status").first).to_contain_text("4 of 5 active keys")
    hand.press(journey.link("Create key"))
    expect(page.get_by_label("Description")).to_be_visible()


HEADINGS: list[Callable[[Journey], None]] = [
    choose_the_time_zone,
    creating_a_key,
    using_a_key,
    managing_your_keys,
    good_habits,
    how_many_keys,
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server as `keystead serve` starts it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('hands') / 'keystead.db'}"
    with serving(url) as server:
        yield server


@pytest.fixture(scope="module")
def past(server: ServerProcess) -> Iterator[tuple[Installation, ManualClock]]:
    """The server's installation, with a clock that can be set back."""
    peppers = bootstrap.find_peppers(server.settings)
    assert peppers is not None
    clock = ManualClock()
    installation = open_installation(server.settings, peppers, clock)
    yield installation, clock
    installation.close()


def ways() -> Iterator[object]:
    """Yield each input method in each zone; with only one zone each in the short form."""
    for hand in HANDS:
        for zone in ZONES:
            marks = [] if (hand, zone) in IN_TEST else [pytest.mark.prove]
            yield pytest.param(hand, zone, marks=marks, id=f"{hand.__name__}-{zone}")


@pytest.mark.slow
@pytest.mark.parametrize(("hand", "zone"), list(ways()))
def test_every_heading_by_every_input_method(
    server: ServerProcess,
    past: tuple[Installation, ManualClock],
    browser: Browser,
    hand: type[Mouse],
    zone: str,
) -> None:
    """Creating, using, managing, reviewing and counting keys all work, and every time is shown correctly."""
    installation, clock = past
    clock.set(datetime.now(UTC) - timedelta(days=60))
    services = installation.services
    workspace = services.workspaces.create(f"{hand.__name__} in {zone}", owner="Pat")
    clock.set(datetime.now(UTC))
    secret, _ = services.sign_in.make_link(services.workspaces.owner(workspace.id))
    options: dict[str, Any] = {
        "base_url": server.base_url,
        "timezone_id": zone,
        "reduced_motion": "reduce",
    }
    with person(browser, java_script_enabled=hand.scripts, **options) as page:
        page.goto(f"/sign-in?link={secret.reveal()}")
        journey = Journey(server, installation, clock, workspace.id, page, hand(page), zone)
        journey.hand.press(journey.button("Continue"))
        for heading in HEADINGS:
            heading(journey)
        assert services.keys.list(journey.principal, KeySelection(KeyStatus.ACTIVE)).quota.used == 4
