"""Collections: view, create and delete them; view, search and read documents, whose text is never markup."""

from __future__ import annotations

import pytest

from keystead.developer_area.workspace.collections import MAX_SHOWN
from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area
from tests.support.browser import Page
from tests.support.hostile_texts import PAYLOADS
from tests.support.markup import skeleton


def url(area: Area, end: str = "") -> str:
    """Return the URL of the collections."""
    return f"/w/{area.workspace_id}/collections{end}"


def filled(area: Area, *drafts: DocumentDraft, name: str = "docs") -> None:
    """Create a collection with documents."""
    documents = area.services.documents
    documents.create_collection(area.principal, CollectionDraft(name, "Product docs"))
    documents.push(area.principal, name, Push(drafts))


def names(area: Area) -> list[str]:
    """Return the names of the collections."""
    page = area.services.documents.list_collections(area.principal)
    return [collection.name for collection in page.items]


def create(area: Area, name: str, title: str = "") -> Page:
    """Send the form for a new collection."""
    browser = area.signed_in()
    form = browser.open(browser.open(url(area)).link("Create collection"))
    return browser.submit(form, url(area), name=name, title=title)


def test_a_collection_is_created_and_shown(each_area: Area) -> None:
    """The form creates a collection and leads to its page, which says how to push to it."""
    seen = create(each_area, "docs", "Product docs")
    assert (seen.status, seen.heading, seen.path) == (200, "Product docs", url(each_area, "/docs"))
    assert "No documents yet." in seen.html
    assert "/v1/collections/docs/documents/batch" in seen.html
    row = each_area.signed_in().open(url(each_area)).rows()[0]
    assert row["Collection"] == "Product docs docs"
    assert row["Documents"] == "0"


@pytest.mark.parametrize("name", ["Docs", "-docs", "do cs", "döcs", "a/b", "<b>"])
def test_an_invalid_name_is_refused_in_words(area: Area, name: str) -> None:
    """An invalid name comes back in the form with an error, and no collection is created."""
    seen = create(area, name, "Title")
    assert seen.status == 422
    assert seen.tree.one("p", id="name-problem").text.startswith("Name must be 1-64 of a-z")
    assert seen.tree.one("input", id="name").attributes["value"] == name
    assert seen.tree.one("input", id="title").attributes["value"] == "Title"
    assert names(area) == []


def test_a_name_is_taken_once(area: Area) -> None:
    """A second collection of the same name is refused at the field."""
    create(area, "docs")
    seen = create(area, "docs")
    assert seen.status == 409
    assert "already" in seen.tree.one("p", id="name-problem").text


def test_at_the_limit_the_page_says_so(area: Area) -> None:
    """Without room there is no button, and a form that was open creates no collection either."""
    browser = area.signed_in()
    form = browser.open(browser.open(url(area)).link("Create collection"))
    for name in ("a", "b", "c"):
        filled(area, name=name)
    seen = browser.submit(form, url(area), name="d")
    assert seen.status == 409
    assert "no room for another collection" in seen.html
    listed = browser.open(url(area))
    assert [b for b in listed.tree.all("button") if b.text == "Create collection"]
    assert "no room for another collection" in listed.html
    assert names(area) == ["c", "b", "a"]


def test_an_empty_collection_is_deleted_after_a_question(each_area: Area) -> None:
    """The question names the collection; its form deletes it, and the list says so."""
    filled(each_area)
    browser = each_area.signed_in()
    question = browser.open(browser.open(url(each_area, "/docs")).link("Delete collection"))
    assert question.heading == "Delete “Product docs”?"
    assert names(each_area) == ["docs"]
    seen = browser.submit(question, url(each_area, "/docs/delete"))
    assert seen.tree.one("div", id="status").text == "The collection docs was deleted."
    assert names(each_area) == []


def test_documents_go_only_with_the_name_typed(each_area: Area) -> None:
    """A collection with documents is deleted only if its exact name is typed."""
    filled(each_area, DocumentDraft("a", "x"))
    browser = each_area.signed_in()
    question = browser.open(url(each_area, "/docs/delete"))
    assert "its 1 document" in question.html
    for typed in ("doc", "DOCS", "docs2"):
        seen = browser.submit(question, url(each_area, "/docs/delete"), confirm=typed)
        assert seen.status == 409
        assert seen.tree.one("p", id="confirm-problem").text.startswith("That doesn't match.")
    assert names(each_area) == ["docs"]
    browser.submit(question, url(each_area, "/docs/delete"), confirm="docs")
    assert names(each_area) == []


def test_documents_added_meanwhile_are_not_deleted(area: Area) -> None:
    """The form of an empty collection does not delete documents that were added meanwhile."""
    filled(area)
    browser = area.signed_in()
    question = browser.open(url(area, "/docs/delete"))
    area.services.documents.push(area.principal, "docs", Push([DocumentDraft("a", "x")]))
    seen = browser.submit(question, url(area, "/docs/delete"))
    assert seen.status == 409
    assert "its 1 document" in seen.html
    assert names(area) == ["docs"]


def test_an_invented_url_announces_no_deletion(area: Area) -> None:
    """The list reports a deletion only if it is on record."""
    filled(area)
    for name in ("docs", "other", "<b>"):
        seen = area.signed_in().open(url(area, f"?deleted={name}"))
        assert seen.tree.one("div", id="status").text == ""


def test_documents_come_in_pages(each_area: Area) -> None:
    """The pages show every document once, newest first."""
    filled(each_area, *[DocumentDraft(f"d{n:02}", "x", f"Title {n:02}") for n in range(60)])
    browser = each_area.signed_in()
    first = browser.open(url(each_area, "/docs"))
    second = browser.open(first.link("Older"))
    shown = [row["Document"] for row in first.rows() + second.rows()]
    assert sorted(shown) == [f"Title {n:02} d{n:02}" for n in range(60)]
    assert len(first.rows()) == 50
    assert browser.open(second.link("Newest")).rows() == first.rows()


def test_search_finds_words(each_area: Area) -> None:
    """Every word must occur, the last as a prefix; results look like the list."""
    filled(
        each_area,
        DocumentDraft("a", "Rotate a key with an overlap", "Rotation"),
        DocumentDraft("b", "Revoke a key", "Revocation"),
    )
    browser = each_area.signed_in()
    page = browser.open(url(each_area, "/docs"))
    results = browser.submit(page, url(each_area, "/docs"), query="key overl")
    assert [row["Document"] for row in results.rows()] == [
        "Rotation a Rotate a key with an overlap"
    ]
    assert "1 document" in [each.text for each in results.tree.all("p", class_="quiet")]
    nothing = browser.submit(page, url(each_area, "/docs"), query="key unicorn")
    assert "No document matches “key unicorn”." in nothing.tree.text


@pytest.mark.parametrize("query", ["---", " ".join("abcdefghijk"), '"'])
def test_a_search_without_words_is_refused_in_words(area: Area, query: str) -> None:
    """An invalid search says why, and the page still works."""
    filled(area, DocumentDraft("a", "x"))
    browser = area.signed_in()
    seen = browser.submit(browser.open(url(area, "/docs")), url(area, "/docs"), query=query)
    assert seen.status == 422
    assert seen.tree.one("p", role="alert").text.startswith("The search ")


def test_a_document_is_read(each_area: Area) -> None:
    """The page of a document shows all of it, and the download is its text, byte for byte."""
    text = "First line\n\n  Second — with “quotes” & <tags>\n"
    attributes = {"section": "guides", "n": 1}
    filled(each_area, DocumentDraft("a.b", text, "Guide", "https://docs.example/a", attributes))
    browser = each_area.signed_in()
    page = browser.open(browser.open(url(each_area, "/docs")).link("Guide"))
    shown = page.tree.one("div", class_="document-text")
    assert shown.raw == text
    assert '"section": "guides"' in page.tree.one("pre").raw
    assert page.link("https://docs.example/a") == "https://docs.example/a"
    file = browser.open(page.link("Download text"))
    assert file.response.content == text.encode()
    assert file.headers["content-type"] == "text/plain; charset=utf-8"
    assert file.headers["content-disposition"] == 'attachment; filename="a.b.txt"'


def test_a_long_text_is_cut_and_says_so(area: Area) -> None:
    """A page stays small however long the document; the file is complete."""
    filled(area, DocumentDraft("a", "x" * (MAX_SHOWN + 1)))
    browser = area.signed_in()
    page = browser.open(url(area, "/docs/documents/a"))
    assert len(page.tree.one("div", class_="document-text").raw) == MAX_SHOWN
    file = browser.open(page.link("Download the full text"))
    assert len(file.html) == MAX_SHOWN + 1


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_documents_are_inert(area: Area, payload: str) -> None:
    """No text of a document, of its attributes or of a collection's title creates an element."""
    line = " ".join(payload.split())
    drafts = [
        DocumentDraft(id, text, text, "https://x.example/", {"name": text})
        for id, text in (("plain", "words"), ("hostile", line))
    ]
    filled(area, *drafts)
    area.services.documents.create_collection(area.principal, CollectionDraft("other", line))
    browser = area.signed_in()
    plain, hostile = (browser.open(url(area, f"/docs/documents/{d.id}")) for d in drafts)
    assert skeleton(plain.tree) == skeleton(hostile.tree)
    assert hostile.tree.one("div", class_="document-text").raw == line
    for seen in (browser.open(url(area)), browser.open(url(area, "/docs"))):
        one, two = seen.tree.all("tr")[1:3]
        assert skeleton(one) == skeleton(two)


def test_viewers_read_and_change_nothing(area: Area) -> None:
    """A viewer reads everything, is offered no action, and a forged one is refused."""
    filled(area, DocumentDraft("a", "x"))
    viewer = area.signed_in(area.member(Role.VIEWER))
    for end in ("", "/docs", "/docs/documents/a"):
        seen = viewer.open(url(area, end))
        assert seen.status == 200
        assert not [a for a in seen.tree.all("a") if a.text.startswith(("Create", "Delete"))]
    token = viewer.open(url(area)).tree.all("input", name="form_token")[0].attributes["value"]
    acts = {"": {"name": "x", "title": ""}, "/docs/delete": {"confirm": "docs"}}
    for end, fields in acts.items():
        refused = viewer.post(url(area, end), {"form_token": token, **fields}.items())
        assert refused.status == 403
    assert viewer.open(url(area, "/docs/delete")).status == 403
    assert viewer.open(f"/w/{area.workspace_id}/new-collection").status == 403
    assert names(area) == ["docs"]


def test_another_workspaces_documents_are_not_there(each_area: Area) -> None:
    """Pages and actions of another workspace answer as if it had never existed."""
    filled(each_area, DocumentDraft("a", "x"))
    other = each_area.services.workspaces.create("Other", owner="Nora")
    stranger = each_area.signed_in(each_area.services.workspaces.owner(other.id))
    own = f"/w/{other.id}/collections"
    for end in ("/docs", "/docs/delete", "/docs/documents/a", "/docs/documents/a/text"):
        assert stranger.open(url(each_area, end)).status == 404
        assert stranger.open(own + end).status == 404
    token = stranger.open(own).tree.all("input", name="form_token")[0].attributes["value"]
    fields = {"form_token": token, "confirm": "docs"}
    for base in (url(each_area), own):
        assert stranger.post(f"{base}/docs/delete", fields.items()).status == 404
    assert names(each_area) == ["docs"]


def test_every_name_is_a_collections(area: Area) -> None:
    """No page of ours has the URL of a collection."""
    for name in ("new", "delete", "documents"):
        filled(area, DocumentDraft("text", "x"), name=name)
    browser = area.signed_in()
    for name in ("new", "delete", "documents"):
        assert browser.open(url(area, f"/{name}")).heading == "Product docs"
        assert browser.open(url(area, f"/{name}/documents/text")).heading == "text"
