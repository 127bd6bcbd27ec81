"""The grid of permissions: what a form with it sends are the scopes that were chosen, and the page shows the same."""

from __future__ import annotations

import itertools
from datetime import timedelta

from keystead.developer_area.keys.access import Access, Grid, access_of, grid_of, scopes_in
from keystead.developer_area.web.forms import Form
from keystead.domain.access import sentence_of
from keystead.domain.keys import KeyDraft
from keystead.domain.renewals import Renewal
from keystead.domain.scopes import EVERYTHING, FULL, KEYS_WRITE, ScopeCatalog, Scopes
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area
from tests.support.browser import Browser, Page
from tests.support.key_pages import create, newest, unlimited

CATALOG = ScopeCatalog({"invoices:read": "Read invoices", "reports:run": "Run reports"})
SINGLE = [name for name in CATALOG.descriptions() if name != EVERYTHING]
ALL = Scopes([EVERYTHING, KEYS_WRITE])


def grid(chosen: tuple[str, ...], allowed: Scopes = ALL) -> Grid:
    """Return the grid with these scopes chosen."""
    presets = {"full": FULL}
    return grid_of(CATALOG, allowed, chosen, reason="No {}.", presets=presets, access="chosen")


def sent(grid: Grid) -> Form:
    """Return what a browser sends of the grid as it is shown."""
    fields: dict[str, tuple[str, ...]] = {}
    for line in grid.lines:
        [chosen] = [cell for cell in line.cells if cell is not None and cell.chosen]
        assert not chosen.disabled
        fields[line.field] = (chosen.value,)
        if line.write_only:
            fields["write_only"] = (*fields.get("write_only", ()), line.resource)
    fields["scope"] = tuple(choice.value for choice in grid.others if choice.chosen)
    return Form(fields)


def test_every_combination_is_sent_and_said() -> None:
    """For every set of scopes the form sends exactly these, and the sentence below it is theirs."""
    for size in range(len(SINGLE) + 1):
        for chosen in itertools.combinations(SINGLE, size):
            shown = grid(chosen)
            assert Scopes(scopes_in(sent(shown))) == Scopes(chosen)
            assert shown.sentence == sentence_of(Scopes(chosen))


def test_only_what_may_be_granted_is_offered() -> None:
    """Whatever is allowed, no form offers more, and a chosen scope that is not allowed is dropped."""
    for size in range(1, 4):
        for names in itertools.combinations(SINGLE, size):
            allowed = Scopes(names)
            shown = grid(tuple(SINGLE), allowed)
            assert Scopes(scopes_in(sent(shown))) == allowed
            offered = {c.value for line in shown.lines for c in line.cells if c and not c.disabled}
            assert offered <= {"none", "read", "write", "write-only"}
            refused = [line for line in shown.lines if any(c and c.disabled for c in line.cells)]
            assert all(line.reason for line in refused)


def levels(shown: Access) -> dict[str, str]:
    """Return the level of each row."""
    return {line.text: "".join(line.marks) for line in shown.lines}


def test_the_page_shows_every_combination() -> None:
    """The page's grid, sentence and list of scopes have what the form had."""
    for size in range(1, len(SINGLE) + 1):
        for chosen in itertools.combinations(SINGLE, size):
            scopes = Scopes(chosen)
            shown, form = access_of(scopes, CATALOG), grid(chosen)
            assert shown.sentence == form.sentence
            assert [scope.value for scope in shown.scopes] == sorted(chosen)
            for line in form.lines:
                [cell] = [cell for cell in line.cells if cell and cell.chosen]
                expected = "Write only" if line.write_only else cell.text
                if cell.value == "write-only":
                    expected = "Write only"
                assert levels(shown)[line.text] == expected


def test_scopes_that_are_gone_are_still_shown() -> None:
    """A scope that was removed from the settings is listed as permitting nothing, in neither sentence nor grid."""
    nothing = "Permits nothing: this installation no longer has it"
    shown = access_of(Scopes(["orders:write", "orders:ship"]), CATALOG)
    assert "Orders" not in levels(shown)
    assert shown.sentence == "Can't do anything: this installation no longer has its permissions."
    assert [(scope.value, scope.hint) for scope in shown.scopes] == [
        ("orders:ship", nothing),
        ("orders:write", nothing),
    ]
    bare = ScopeCatalog(has_documents=False)
    left = access_of(Scopes(["documents:read", "plan:read"]), bare)
    assert left.sentence == "Can read the plan. Can't change anything."
    assert left.scopes[0].hint == nothing
    everything = access_of(ALL, CATALOG)
    assert [levels(everything)[name] for name in ("Events", "Plan", "Invoices", "Webhooks")] == [
        *("Read", "Read", "Read"),
        "Write",
    ]


def rows(seen: Page) -> dict[str, str]:
    """Return the grid on a key's page: the one filled cell of each row."""
    body = seen.tree.one("table", class_="grid grid-shown").one("tbody")
    return {
        tr.one("th").text: " ".join(td.text for td in tr.all("td") if td.text)
        for tr in body.all("tr")
    }


def chosen_page(area: Area, browser: Browser, **fields: str) -> Page:
    """Create a key with these permissions, and open its page."""
    seen = create(area, browser, access="chosen", **fields)
    assert seen.status == 201
    return browser.open(f"{area.keys_url}/{newest(area).id}")


def test_without_scripts(each_area: Area) -> None:
    """The plain form creates the key, and the pages after it have the sentence of what is stored."""
    browser = each_area.signed_in()
    form = browser.open(f"{each_area.keys_url}/new").tree
    assert "hidden" in form.one("p", role="status", class_="sentence").attributes
    page = chosen_page(
        each_area, browser, scope_documents="write", write_only="documents", scope_events="read"
    )
    stored = newest(each_area).scopes
    assert list(stored) == ["documents:write", "events:read"]
    assert page.tree.one("p", class_="sentence").text == sentence_of(stored)
    shown = {name: level for name, level in rows(page).items() if level != "None"}
    assert shown == {"Documents": "Write only", "Events": "Read"}


def test_a_refused_form_keeps_the_grid(area: Area) -> None:
    """What was chosen is still chosen, write only included, and sending it again creates the key."""
    browser = area.signed_in()
    fields = {"access": "chosen", "scope_documents": "write", "write_only": "documents"}
    refused = create(area, browser, expiry="date", expires_on="2020-01-01", **fields)
    assert refused.status == 422
    assert browser.submit(refused, area.keys_url, expiry="30").status == 201
    assert list(newest(area).scopes) == ["documents:write"]


def test_a_level_that_no_form_has_is_refused(area: Area) -> None:
    """Neither a made-up level nor a made-up resource makes a key."""
    browser = area.signed_in()
    url = f"{area.keys_url}/new"
    token = browser.open(url).tree.all("input", name="form_token")[0].attributes["value"]
    own = [("form_token", token), ("once", "A" * 22), ("description", "x"), ("expiry", "30")]
    for field, value, status in (("scope_documents", "own", 400), ("scope_x", "read", 422)):
        seen = browser.post(area.keys_url, [*own, ("access", "chosen"), (field, value)])
        assert seen.status == status
    assert area.active() == 0


def test_duplicating_a_key_fills_in_the_form(each_area: Area) -> None:
    """Description, access and options are the key's, as far as they may be granted; the expiry is to be chosen."""
    unlimited(each_area)
    draft = KeyDraft(
        "warehouse",
        None,
        ["documents:write", "keys:write"],
        metadata={"customer": "42"},
        stored_in="CI",
    )
    keys = each_area.services.keys
    key = keys.create(each_area.principal, draft).key
    for role, scopes in ((Role.OWNER, list(key.scopes)), (Role.DEVELOPER, ["documents:write"])):
        member = each_area.member(role) if role is not Role.OWNER else None
        browser = each_area.signed_in(member)
        page = browser.open(f"{each_area.keys_url}/{key.id}")
        form = browser.open(page.link("Duplicate"))
        assert ("it's without keys:write." in form.tree.text) is (role is Role.DEVELOPER)
        assert not [r for r in form.tree.all("input", name="expiry") if "checked" in r.attributes]
        assert browser.submit(form, each_area.keys_url, expiry="30").status == 201
        made = newest(each_area)
        assert (made.description, made.metadata, made.stored_in) == (
            "warehouse",
            {"customer": "42"},
            "",
        )
        assert list(made.scopes) == scopes
    viewer = each_area.signed_in(each_area.member(Role.VIEWER))
    assert "Duplicate" not in viewer.open(f"{each_area.keys_url}/{key.id}").tree.text


def test_duplicating_says_what_it_leaves_out(area: Area) -> None:
    """The grid has no cell for `*` next to another scope, so the form says it; a renewal that is over is not copied."""
    until = area.clock.now() + timedelta(days=1)
    draft = KeyDraft("all", None, list(ALL), renewal=Renewal(until))
    key = area.services.keys.create(area.principal, draft).key
    url, browser = f"{area.keys_url}/new?like={key.id}", area.signed_in()
    form = browser.open(url)
    note = "This access can't be copied exactly: it's without *. Check what is chosen."
    assert note in form.tree.one("fieldset", class_="field access-field").text
    assert "wasn't created" not in form.tree.text
    assert form.tree.one("input", name="renewal_on").attributes["value"] == f"{until:%Y-%m-%d}"
    area.clock.advance(days=2)
    browser = area.signed_in()
    assert browser.submit(browser.open(url), area.keys_url, expiry="30").status == 201
    assert newest(area).renewal is None
    full = area.key("full")
    plain = browser.open(f"{area.keys_url}/new?like={full.key_id}")
    assert "copied exactly" not in plain.tree.text
