"""Activity: the audit log as sentences, by type, paged, and as files that no spreadsheet executes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from keystead.developer_area.workspace.activity_exports import COLUMNS, csv_lines, neutralize
from keystead.developer_area.workspace.event_sentences import sentence
from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.events import Event, EventType, Origin, Target
from keystead.domain.ids import EventId, WorkspaceId
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.token import Secret
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area, session_of
from tests.support.browser import Page
from tests.support.hostile_texts import PAYLOADS
from tests.support.markup import skeleton

FROM = Origin("10.2.3.4", "req_1")
ACTOR = Actor(PrincipalKind.MEMBER, "usr_1", "Owner")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def url(area: Area, end: str = "") -> str:
    """Return the URL of the activity page."""
    return f"/w/{area.workspace_id}/activity{end}"


def event(event_type: EventType, target: str = "key_1", **data: object) -> Event:
    """Return an event with the owner as its actor."""
    return Event(
        EventId("evt_1"),
        WorkspaceId("ws_1"),
        1,
        event_type,
        NOW,
        ACTOR,
        Target(event_type.partition(".")[0], target),
        FROM,
        data,
    )


def sentences(seen: Page) -> list[str]:
    """Return the sentences of the page, newest first."""
    return [span.text for span in seen.tree.all("span", class_="event")]


def with_events(area: Area) -> None:
    """Cause a few events."""
    token = area.key("data-warehouse sync")
    area.services.keys.revoke(area.principal, token.key_id, FROM)
    documents = area.services.documents
    documents.create_collection(area.principal, CollectionDraft("docs"), FROM)
    documents.push(area.principal, "docs", Push([DocumentDraft("a", "x"), DocumentDraft("b", "y")]))


TOLD: Mapping[EventType, tuple[dict[str, Any], str]] = {
    EventType.KEY_CREATED: (
        {"description": "sync", "hint": "ks_…4erw"},
        "created the key sync (…4erw)",
    ),
    EventType.KEY_UPDATED: (
        {"description": "sync", "hint": "ks_…4erw", "changed": ["expires_at", "scopes"]},
        "changed the key sync (…4erw) (expiry, access)",
    ),
    EventType.KEY_REVOKED: (
        {"description": "sync", "hint": "ks_…4erw", "reason": "unused"},
        "revoked the key sync (…4erw) because it wasn't used",
    ),
    EventType.DOCUMENTS_PUSHED: (
        {"created": 1, "updated": 2_000},
        "pushed 1 new and 2,000 changed documents to it",
    ),
    EventType.DOCUMENTS_DELETED: ({"deleted": 1}, "deleted 1 document from it"),
    EventType.COLLECTION_DELETED: (
        {"documents": 3},
        "deleted the collection it with its 3 documents",
    ),
    EventType.MEMBER_ADDED: ({"name": "Ada", "role": "admin"}, "added Ada as admin"),
    EventType.MEMBER_ROLE_CHANGED: (
        {"name": "Ada", "from": "admin", "to": "viewer"},
        "changed the role of Ada from admin to viewer",
    ),
    EventType.MEMBER_SIGNED_IN: (
        {"by": "password", "wrong_passwords_before": 3},
        "signed in by password after 3 wrong passwords",
    ),
    EventType.MEMBER_EMAIL_CHANGED: (
        {"from": None, "to": "a@x.example"},
        "changed their email from none to a@x.example",
    ),
    EventType.KEY_UNUSED: (
        {"description": "a", "days": 90, "ends_at": "2027-05-08T12:00:00Z"},
        "noticed that the key a hasn't been used for 90 days and will be revoked on 2027-05-08 if it stays unused",
    ),
    EventType.WORKSPACE_PLAN_CHANGED: ({"plan": "team"}, "moved the workspace to the plan team"),
    EventType.WORKSPACE_POLICY_CHANGED: (
        {"layer": "owner", "policy": {"max_lifetime_days": 90, "renewal_allowed": False}},
        "set the policy: keys live at most 90 days, can't renew themselves",
    ),
}


@pytest.mark.parametrize("event_type", TOLD, ids=str)
def test_events_are_sentences(event_type: EventType) -> None:
    """The data of an event appear in its sentence."""
    data, words = TOLD[event_type]
    assert sentence(event(event_type, "it", **data)).of("Owner") == f"Owner {words}"


@pytest.mark.parametrize("event_type", EventType, ids=str)
def test_every_type_has_words(event_type: EventType) -> None:
    """No event is shown by the name of its type, and missing or malformed data cause no error."""
    odd: dict[str, Any] = dict.fromkeys(("description", "changed", "created", "by", "id"), 7)
    for data in ({}, odd):
        assert event_type.value not in sentence(event(event_type, **data)).of("Owner")


def test_the_page_shows_actor_action_and_origin(each_area: Area) -> None:
    """Each event is a row: a sentence, a relative and an exact time, the address and the request."""
    with_events(each_area)
    seen = each_area.signed_in().open(url(each_area))
    assert sentences(seen)[1:4] == [
        "You pushed 2 new documents to docs",
        "You created the collection docs",
        "You revoked the key data-warehouse sync (…" + sentences(seen)[3][-5:],
    ]
    row = seen.rows()[2]
    assert row["When"].startswith("just now ")
    assert row["From"] == "10.2.3.4 req_1"


@pytest.mark.parametrize(
    ("chosen", "count"), [("", 7), ("key", 2), ("key.revoked", 1), ("documents", 1)]
)
def test_a_type_or_a_noun_narrows_the_list(area: Area, chosen: str, count: int) -> None:
    """The list and its files contain only the chosen type or noun."""
    with_events(area)
    browser = area.signed_in()
    query = f"?type={chosen}"
    seen = browser.open(url(area, query))
    assert len(sentences(seen)) == count
    assert len(browser.open(seen.link("Export JSON lines")).html.splitlines()) == count
    assert len(browser.open(seen.link("Export CSV")).html.splitlines()) == count + 1


@pytest.mark.parametrize("chosen", ["keys", "key.", "key.made", "%20"])
def test_an_unknown_type_is_not_found(area: Area, chosen: str) -> None:
    """An unknown filter is 404: an empty list would read as if nothing had happened."""
    for end in ("", ".csv", ".jsonl"):
        assert area.signed_in().open(url(area, f"{end}?type={chosen}")).status == 404


def test_pages_go_back_to_the_beginning(each_area: Area) -> None:
    """The pages show every event once, even if more happen meanwhile; the files contain them all."""
    for number in range(60):
        each_area.services.workspaces.rename(each_area.principal, f"Name {number}")
    browser = each_area.signed_in()
    first = browser.open(url(each_area))
    each_area.services.workspaces.rename(each_area.principal, "Meanwhile")
    second = browser.open(first.link("Older"))
    shown = sentences(first) + sentences(second)
    assert len(shown) == 63  # the events of this test, the workspace, its owner, and the sign-in
    assert shown[-1].endswith("created the workspace")
    assert "Meanwhile" not in " ".join(shown)
    assert browser.open(second.link("Newest")).status == 200


def test_files_hold_everything_however_long(area: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read in batches, and contains each event once, newest first."""
    monkeypatch.setattr("keystead.developer_area.workspace.activity._EXPORT_PAGE", 2)
    with_events(area)
    lines = area.signed_in().open(url(area, ".jsonl")).html.splitlines()
    types = [json.loads(line)["type"] for line in lines]
    assert types == [
        "member.signed_in",
        "documents.pushed",
        "collection.created",
        "key.revoked",
        "key.created",
        "member.added",
        "workspace.created",
    ]
    assert json.loads(lines[3])["address"] == "10.2.3.4"


def test_files_are_downloads_that_no_cache_keeps(area: Area) -> None:
    """Files are never displayed inline, and are named by workspace and day."""
    seen = area.signed_in().open(url(area, ".csv"))
    assert seen.headers["content-type"].startswith("text/csv")
    disposition = seen.headers["content-disposition"]
    assert disposition.startswith(f'attachment; filename="activity-{area.workspace_id}-')
    assert seen.headers["cache-control"] == "no-store"
    assert seen.headers["x-content-type-options"] == "nosniff"


HOSTILE = {
    "=1+1": "'=1+1",
    "+1": "'+1",
    "-1": "'-1",
    "@SUM(1)": "'@SUM(1)",
    "  =1": "'  =1",
    '=HYPERLINK("x")': '\'=HYPERLINK("x")',
    '"=1': "'\"=1",
    "\t=1": "'\t'=1",
    "\r=1": "'\r'=1",
    "\n=1": "'\n'=1",
    "\0=1": "'\0=1",
    "\uff1d1+1": "'\uff1d1+1",
    "\uff0b1": "'\uff0b1",
    "\uff0d1": "'\uff0d1",
    "\uff20SUM(1)": "'\uff20SUM(1)",
    "\ufe661": "'\ufe661",
    "\u200b=1": "'\u200b=1",
    "\ufeff\u00a0=1": "'\ufeff\u00a0=1",
    "\u3164\u202e@x": "'\u3164\u202e@x",
    "a;=1": "a;'=1",
    'a";"=1': 'a";\'"=1',
    "a; \u200b=1;b;-2": "a;' \u200b=1;b;'-2",
    "a\t\uff1d1": "a\t'\uff1d1",
}
"""Text that a spreadsheet would execute, and its form in a cell."""
READINGS = (",", ";", "\t")
"""The separators of spreadsheets in various locales."""


def begins_a_formula(cell: str) -> bool:
    """Return whether the first visible character of the cell, in any width, starts a formula."""
    visible = re.sub('[\\s"\0\u200b\u202e\u3164\ufeff]', "", cell)
    return visible[:1] in set("=+-@\uff1d\uff0b\uff0d\uff20\ufe66")


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_cell_is_a_formula(text: str) -> None:
    """Whatever text users enter, no cell starts a formula; the file reads back whole."""
    hostile = replace(
        event(EventType.KEY_CREATED, target=text, description=text, other=f"a;{text}"),
        actor=Actor(PrincipalKind.KEY, text, text),
        origin=Origin(text, text),
    )
    file = "".join(csv_lines([hostile]))
    assert file[0] == "\ufeff"
    head, row = csv.reader(io.StringIO(file[1:], newline=""))
    assert tuple(head) == COLUMNS
    assert len(row) == len(head)
    assert row[head.index("actor_name")] == HOSTILE[text].replace("\0", "\ufffd")
    data = {"description": text, "other": f"a;{text}"}
    assert json.loads(row[head.index("data")]) == data
    for separator in READINGS:
        lines = csv.reader(io.StringIO(file[1:], newline=""), delimiter=separator)
        assert not [cell for line in lines for cell in line if begins_a_formula(cell)], separator


@pytest.mark.parametrize(
    "text", ["", "sync", "a=1", "10.2.3.4", "2026-11-23", "a, -b", "x; y", '"a"', "½"]
)
def test_harmless_cells_stay_as_they_are(text: str) -> None:
    """Harmless cells are unchanged."""
    assert neutralize(text) == text


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_in_events_stays_text(area: Area, payload: str) -> None:
    """Names and descriptions add no elements."""
    area.key("plain")
    browser = area.signed_in()
    plain = browser.open(url(area, "?type=key.created"))
    area.key(payload)
    hostile = browser.open(url(area, "?type=key.created"))
    one, two = hostile.tree.all("tr")[1], plain.tree.all("tr")[1]
    assert skeleton(one) == skeleton(two)


@pytest.mark.parametrize("role", Role)
def test_every_role_reads_the_activity(area: Area, role: Role) -> None:
    """Every member may read the activity of the workspace."""
    browser = area.signed_in(area.member(role))
    assert browser.open(url(area)).status == 200
    assert browser.open(url(area, ".csv")).status == 200


def test_strangers_get_no_file(area: Area) -> None:
    """Another workspace's activity is 404, and without a session there is only the sign-in page."""
    other = area.services.workspaces.create("Other", owner="Nora")
    stranger = area.signed_in(area.services.workspaces.owner(other.id))
    for end in ("", ".csv", ".jsonl"):
        assert stranger.open(url(area, end)).status == 404
        assert area.browser().open(url(area, end)).path.startswith("/sign-in?next=")


def test_keys_and_collections_are_a_click_away(area: Area) -> None:
    """A sentence links to the page of its subject while that exists."""
    with_events(area)
    browser = area.signed_in()
    seen = browser.open(url(area))
    assert browser.open(seen.link("data-warehouse sync")).heading == "data-warehouse sync"
    assert browser.open(seen.link("docs")).heading == "docs"
    area.services.documents.delete_collection(area.principal, "docs", with_documents=True)
    rows = browser.open(url(area, "?type=collection.deleted")).tree.all("tr")
    assert not rows[1].all("a")


def test_times_are_in_the_users_zone(area: Area) -> None:
    """A user's time zone applies to the activity and to its collections; the file stays in UTC."""
    with_events(area)
    browser = area.signed_in()
    area.services.accounts.set_time_zone(Secret(session_of(browser)), "Asia/Kolkata")
    assert browser.open(url(area)).rows()[0]["When"].endswith(" IST")
    rows = browser.open(f"/w/{area.workspace_id}/collections").rows()
    assert rows[0]["Created"].endswith(" IST")
    documents = browser.open(f"/w/{area.workspace_id}/collections/docs").rows()
    assert documents[0]["Last changed"].endswith(" IST")
    assert "IST" not in browser.open(url(area, ".csv")).html
