"""`keystead login` at a terminal, approved in a real browser: with scripts, and again without any."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from keystead.bootstrap import Installation
from keystead.cli.outcome import Exit
from keystead.cli.serve import fresh_link
from keystead.domain.principals import of_member
from tests.support.chromium import has_scripts, person, require_accessible
from tests.support.server_process import ServerProcess
from tests.support.terminal import Terminal, at_terminal

pytestmark = pytest.mark.slow
CODE = r"enter the code ([B-Z]{4}-[0-9]{4})"
TOKEN = re.compile(r"ks_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}")


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def page(request: pytest.FixtureRequest, browser: Browser, server: ServerProcess) -> Iterator[Page]:
    """A page of someone who has not signed in, with scripts and without."""
    with person(browser, base_url=server.base_url, java_script_enabled=request.param) as page:
        yield page


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """A user's environment with a home of their own."""
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")
    }
    return variables | {"HOME": str(tmp_path), "TERM": "xterm", "COLUMNS": "160"}


def sign_in(page: Page, installation: Installation) -> None:
    """Sign in by a link, on the page on which the visit has ended."""
    page.goto(fresh_link(installation, installation.settings.base_url)[0])
    page.get_by_role("button", name="Continue").click()


def accessible(page: Page) -> None:
    """Check the page with axe, which is a script itself."""
    if has_scripts(page):
        require_accessible(page)


def test_a_terminal_gets_its_key(
    server: ServerProcess,
    installation: Installation,
    page: Page,
    environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    """The code is typed, the request is shown with its warning, the key is chosen, and its token is in the file."""
    with Terminal(
        environment, "login", "--url", server.base_url, "--scope", "documents:read"
    ) as terminal:
        code = terminal.until(CODE)[1]
        sign_in(page, installation)
        expect(page.get_by_role("heading", name="API keys")).to_be_visible()
        page.goto("/device")
        accessible(page)
        page.get_by_label("Code").fill(code.replace("-", " ").lower())
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#warning")).to_contain_text("If someone sent you this code")
        expect(page.locator(".facts")).to_contain_text("127.0.0.1 the one you're using now")
        expect(page.locator(".facts")).to_contain_text("keystead-cli/")
        expect(page.locator(".facts")).to_contain_text("documents:read")
        accessible(page)
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_role("heading", name="Give this terminal a key")).to_be_visible()
        page.get_by_label("Description").fill("my laptop")
        page.get_by_label("30 days").check()
        expect(page.get_by_label("Documents: Read")).to_be_checked()
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_role("status").first).to_contain_text("Go back to your terminal")
        assert terminal.finish() == Exit.DONE, terminal.shown
    assert not TOKEN.search(terminal.shown)
    [file] = [each for each in (tmp_path / ".config").rglob("*") if each.is_file()]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code_of_whoami, shown = at_terminal(environment, "", "whoami", "--url", server.base_url)
    assert code_of_whoami == Exit.DONE
    assert re.search(r"description\W+my laptop", shown)
    assert re.search(r"scopes\W+documents:read\s", shown)
    owner = of_member(installation.services.workspaces.first())
    [key] = [
        k
        for k in installation.services.keys.list(owner).items
        if k.hint[-4:] == file.read_text().strip()[-4:]
    ]
    installation.services.keys.revoke(owner, key.id)


def test_a_denied_terminal_gets_nothing(
    server: ServerProcess,
    installation: Installation,
    page: Page,
    environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    """The link asks to sign in first, fills the code in, and does nothing by itself; Deny ends the command."""
    with Terminal(environment, "login", "--url", server.base_url) as terminal:
        link = terminal.until(r"or open (\S+)")[1]
        page.goto(link)
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        sign_in(page, installation)
        page.goto(link)
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("button", name="Deny").click()
        expect(page.get_by_role("status").first).to_contain_text("You denied the sign-in")
        assert terminal.finish() == Exit.REFUSED
    assert "The request was denied." in terminal.shown
    assert not (tmp_path / ".config").exists()
