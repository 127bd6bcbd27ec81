"""Collections and documents: valid and refused values, the pointers of errors, and the changes of a push."""

from __future__ import annotations

import json
import string
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.documents import (
    MAX_ATTRIBUTES_BYTES,
    MAX_ATTRIBUTES_DEPTH,
    MAX_PUSH,
    MAX_REFUSALS,
    MAX_TEXT_BYTES,
    MAX_TITLE,
    MAX_URL,
    CollectionDraft,
    CollectionPatch,
    DocumentDraft,
    Incoming,
    Push,
    Stored,
    check_collection,
    check_collection_patch,
    check_document,
    check_push,
    content_digest,
    diff,
    is_collection_name,
    is_document_id,
)
from keystead.domain.errors import Invalid

GOOD = DocumentDraft("readme.md", "Hello", title="Read me", url="https://example.com/readme")
ids = st.text(alphabet=string.ascii_letters + string.digits + "._-", min_size=1, max_size=3).filter(
    is_document_id
)
digests = st.binary(min_size=1, max_size=1)


def pointers(refused: pytest.ExceptionInfo[Invalid]) -> list[str]:
    """Return the pointers of the refusal, in its order."""
    return [error.pointer for error in refused.value.errors]


def nested(depth: int) -> dict[str, Any]:
    """Return objects inside one another, `depth` in all."""
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"inner": value}
    return value


@pytest.mark.parametrize("name", ["a", "0", "docs", "team-docs_2", "a" * 64])
def test_a_slug_names_a_collection(name: str) -> None:
    """1-64 of a-z, 0-9, hyphens and underscores, a letter or digit first, is a name."""
    assert is_collection_name(name)
    assert check_collection(CollectionDraft(name)).title == name


@pytest.mark.parametrize(
    "name", ["", "-a", "_a", "A", "é", "a b", "a/b", "a.b", "a" * 65, "a\n", "a\0"]
)
def test_nothing_else_names_a_collection(name: str) -> None:
    """A name that isn't a slug is refused, and the error points only at the name."""
    assert not is_collection_name(name)
    with pytest.raises(Invalid) as refused:
        check_collection(CollectionDraft(name))
    assert pointers(refused) == ["/name"]


@pytest.mark.parametrize("title", ["", "   ", "two\nlines", "a\0", "\ud800", "x" * (MAX_TITLE + 1)])
def test_a_collection_is_titled_in_one_line(title: str) -> None:
    """The title of a collection has 1-300 characters on one line, when it is created and when it is changed."""
    with pytest.raises(Invalid) as refused:
        check_collection(CollectionDraft("docs", title))
    assert pointers(refused) == ["/title"]
    with pytest.raises(Invalid) as refused:
        check_collection_patch(CollectionPatch(title))
    assert pointers(refused) == ["/title"]


def test_a_patch_may_leave_everything_as_it_is() -> None:
    """A patch without a title is valid."""
    check_collection_patch(CollectionPatch())


@pytest.mark.parametrize("id", ["a", "A.b_c-9", ".hidden", "...", "x" * 128])
def test_the_ids_of_documents(id: str) -> None:
    """1-128 of letters, digits, dots, underscores and hyphens are an id."""
    assert is_document_id(id)


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "a b", "é", "a\n", "a\0", "x" * 129])
def test_invalid_ids(id: str) -> None:
    """Anything else is refused, and so are `.` and `..`, which a URL can't contain."""
    assert not is_document_id(id)
    with pytest.raises(Invalid) as refused:
        check_document(replace(GOOD, id=id))
    assert pointers(refused) == ["/id"]


@pytest.mark.parametrize(
    "draft",
    [
        replace(GOOD, title="x" * MAX_TITLE),
        replace(GOOD, title=""),
        replace(GOOD, title="a\ttab\nand a line"),
        replace(GOOD, text=""),
        replace(GOOD, text="x" * MAX_TEXT_BYTES),
        replace(GOOD, text="é" * (MAX_TEXT_BYTES // 2)),
        replace(GOOD, url=None),
        replace(GOOD, url="HTTP://x"),
        replace(GOOD, url="https://x/" + "y" * (MAX_URL - 10)),
        replace(
            GOOD, attributes={"n": 2**63 - 1, "m": -(2**63), "f": 1.5, "l": [None, True, "é\n"]}
        ),
        replace(GOOD, attributes=nested(MAX_ATTRIBUTES_DEPTH)),
        replace(GOOD, attributes={"x": "y" * (MAX_ATTRIBUTES_BYTES - 8)}),
    ],
)
def test_values_within_the_bounds_are_accepted(draft: DocumentDraft) -> None:
    """Every field up to and including its bound is accepted unchanged."""
    assert check_document(draft).draft is draft


@pytest.mark.parametrize(
    ("draft", "pointer"),
    [
        (replace(GOOD, title="x" * (MAX_TITLE + 1)), "/title"),
        (replace(GOOD, title="a\0b"), "/title"),
        (replace(GOOD, title="\udfff"), "/title"),
        (replace(GOOD, text="x" * (MAX_TEXT_BYTES + 1)), "/text"),
        (replace(GOOD, text="é" * (MAX_TEXT_BYTES // 2) + "x"), "/text"),
        (replace(GOOD, text="😀" * (MAX_TEXT_BYTES // 4) + "x"), "/text"),
        (replace(GOOD, text="a\0b"), "/text"),
        (replace(GOOD, text="\ud83d"), "/text"),
        (replace(GOOD, url=""), "/url"),
        (replace(GOOD, url="javascript:alert(1)"), "/url"),
        (replace(GOOD, url="//example.com"), "/url"),
        (replace(GOOD, url="https:///path"), "/url"),
        (replace(GOOD, url="https://x/a b"), "/url"),
        (replace(GOOD, url="https://x/\udfff"), "/url"),
        (replace(GOOD, url="https://x/" + "y" * (MAX_URL - 9)), "/url"),
        (replace(GOOD, attributes={"x": "y" * (MAX_ATTRIBUTES_BYTES - 7)}), "/attributes"),
        (replace(GOOD, attributes={"x": "é" * (MAX_ATTRIBUTES_BYTES // 2)}), "/attributes"),
        (replace(GOOD, attributes=nested(MAX_ATTRIBUTES_DEPTH + 1)), "/attributes"),
        (replace(GOOD, attributes=nested(100_000)), "/attributes"),
        (replace(GOOD, attributes={"x": 2**63}), "/attributes"),
        (replace(GOOD, attributes={"x": float("nan")}), "/attributes"),
        (replace(GOOD, attributes={"x": [float("inf")]}), "/attributes"),
        (replace(GOOD, attributes={"x": "a\0b"}), "/attributes"),
        (replace(GOOD, attributes={"\0": 1}), "/attributes"),
        (replace(GOOD, attributes={"x": {"\ud800": 1}}), "/attributes"),
        (replace(GOOD, attributes={"x": {1, 2}}), "/attributes"),
    ],
)
def test_values_beyond_the_bounds_are_refused_at_their_field(
    draft: DocumentDraft, pointer: str
) -> None:
    """One step over a bound is refused, and the refusal points at the field."""
    with pytest.raises(Invalid) as refused:
        check_document(draft)
    assert pointers(refused) == [pointer]


def test_attributes_are_an_object() -> None:
    """Attributes can't be a list or a bare value."""
    listed: Any = [1]
    with pytest.raises(Invalid, match="must be an object"):
        check_document(replace(GOOD, attributes=listed))


def test_every_refused_field_of_a_push_is_named() -> None:
    """A push reports all its faults together, each at its entry."""
    wrong = DocumentDraft("a/b", "\0", title="x" * 301)
    push = Push([GOOD, wrong], ["ok", "not ok"])
    with pytest.raises(Invalid) as refused:
        check_push(push)
    assert pointers(refused) == ["/upsert/1/id", "/upsert/1/title", "/upsert/1/text", "/delete/1"]


def test_the_documents_of_a_bad_batch_are_named() -> None:
    """Every fault has the id of its document, and so does the sentence; a malformed id is never quoted."""
    drafts = [GOOD, DocumentDraft("one", "\0", title="x" * 301), DocumentDraft("two", "\0"), GOOD]
    with pytest.raises(Invalid) as refused:
        check_push(Push([*drafts, DocumentDraft("a/b", "")], ["two"]))
    faults = [(error.pointer, error.id) for error in refused.value.errors]
    assert faults == [
        ("/upsert/1/title", "one"),
        ("/upsert/1/text", "one"),
        ("/upsert/2/text", "two"),
        ("/upsert/3/id", GOOD.id),
        ("/upsert/4/id", None),
        ("/delete/0", "two"),
    ]
    assert "/upsert/1/title (one): must be" in refused.value.detail
    extras: Any = refused.value.extras()["errors"]
    assert extras[0]["id"] == "one"
    assert "id" not in extras[4]


@pytest.mark.parametrize(
    ("upserts", "deletes", "pointer"),
    [
        (["a", "b", "a"], [], "/upsert/2/id"),
        ([], ["a", "b", "b"], "/delete/2"),
        (["a", "b"], ["c", "a"], "/delete/1"),
    ],
)
def test_an_id_is_in_a_push_once(upserts: list[str], deletes: list[str], pointer: str) -> None:
    """The second use of an ID is refused with its pointer, in either list."""
    with pytest.raises(Invalid) as refused:
        check_push(Push([DocumentDraft(id, "") for id in upserts], deletes))
    assert pointers(refused) == [pointer]


def test_a_push_has_a_thousand_entries_at_most() -> None:
    """Puts and deletes count together; one more than 1,000 is refused."""
    puts = [DocumentDraft(f"p{n}", "") for n in range(MAX_PUSH // 2)]
    deletes = [f"d{n}" for n in range(MAX_PUSH // 2)]
    assert len(check_push(Push(puts, deletes))) == MAX_PUSH // 2
    with pytest.raises(Invalid):
        check_push(Push(puts, [*deletes, "one-more"]))


def test_a_refusal_stays_readable() -> None:
    """The first hundred of a thousand refused entries are reported, and the number of the others."""
    with pytest.raises(Invalid) as refused:
        check_push(Push([], ["/"] * MAX_PUSH))
    assert len(refused.value.errors) == MAX_REFUSALS
    more = 2 * MAX_PUSH - 1 - MAX_REFUSALS
    assert refused.value.detail.endswith(f"; and {more:,} more")


def test_the_digest_covers_all_that_a_document_says() -> None:
    """A change of any field changes the digest; the ID and the order of attributes don't."""
    base = replace(GOOD, attributes={"a": 1, "b": {"c": 2, "d": 3}})
    others = [
        replace(base, title="Read me!"),
        replace(base, text="Hello!"),
        replace(base, url=None),
        replace(base, attributes={}),
        replace(base, attributes={"a": True, "b": {"c": 2, "d": 3}}),
        replace(base, attributes={"a": 1.0, "b": {"c": 2, "d": 3}}),
        replace(base, title="Hello", text="Read me"),
    ]
    assert len({content_digest(draft) for draft in [base, *others]}) == len(others) + 1
    turned = replace(base, id="other", attributes={"b": {"d": 3, "c": 2}, "a": 1})
    assert content_digest(turned) == content_digest(base)


def stored(digests: dict[str, bytes]) -> dict[str, Stored]:
    """Return documents with these digests, as a collection has them."""
    return {
        id: Stored(digest, number, datetime.now(UTC), 1)
        for number, (id, digest) in enumerate(digests.items(), 1)
    }


@given(
    st.dictionaries(ids, digests),
    st.dictionaries(ids, digests),
    st.lists(ids, unique=True),
)
def test_a_plan_leads_to_the_wanted_documents(
    existing: dict[str, bytes], wanted: dict[str, bytes], deletes: list[str]
) -> None:
    """A plan leaves exactly the wanted documents, and the same push then changes nothing."""
    deletes = [id for id in deletes if id not in wanted]
    incoming = [Incoming(DocumentDraft(id, ""), digest) for id, digest in wanted.items()]
    plan = diff(stored(existing), incoming, deletes)
    result = existing | {
        change.draft.id: change.digest for change in (*plan.created, *plan.updated.values())
    }
    result = {id: digest for id, digest in result.items() if id not in plan.deleted}
    expected = {id: digest for id, digest in (existing | wanted).items() if id not in deletes}
    assert result == expected
    assert len(existing) + plan.added == len(expected)
    assert len(plan.created) + len(plan.updated) + plan.unchanged == len(wanted)
    again = diff(stored(result), incoming, deletes)
    assert again.changes_nothing
    assert again.unchanged == len(wanted)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3, alphabet="abc"), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_any_shallow_json_may_be_an_attribute(value: Any) -> None:
    """Any JSON within the bounds is accepted unchanged."""
    draft = replace(GOOD, attributes={"value": value})
    depth = json.dumps(value).count("[") + json.dumps(value).count("{")
    if depth < MAX_ATTRIBUTES_DEPTH:
        assert check_document(draft).draft.attributes == {"value": value}
