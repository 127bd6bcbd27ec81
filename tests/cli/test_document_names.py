"""The id and the title that a file's document gets."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.cli.document_names import id_of, title_of
from keystead.domain.documents import is_document_id

PARTS = st.text("aA-._ é/\u0301\udcff", min_size=1, max_size=12).filter(
    lambda part: "/" not in part and part not in {".", ".."}
)
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("README.md", "README.md"),
        ("guides/deploy.md", "guides--deploy.md"),
        ("a/b/c_d-1.md", "a--b--c_d-1.md"),
        ("a--b.md", "a--b.md-0e5b9d41750d5bf0"),
        ("my notes.md", "my-notes.md-50d09f5ffbbcf49a"),
        ("Übersicht.md", "Ubersicht.md-9bd06dffde4a5da5"),
    ],
)
def test_an_id_is_the_path_made_fit(name: str, id: str) -> None:
    """Folders are parted by two hyphens; where something is lost, part of the path's hash says which path it was."""
    assert id_of(name) == id


@given(PATHS, PATHS)
def test_two_paths_never_share_an_id(one: str, other: str) -> None:
    """Whatever the paths, their ids are good ones, and equal only where the paths are (however accents are written)."""
    assert is_document_id(id_of(one))
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    assert (id_of(one) == id_of(other)) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [("a/b", "a--b"), ("a/-b", "a-/b"), ("a-/-b", "a/b"), ("a b", "a-b"), ("x" * 200, "x" * 201)],
)
def test_paths_made_to_meet_do_not(one: str, other: str) -> None:
    """The pairs that a plain replacement of characters would confuse."""
    assert id_of(one) != id_of(other)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# One\n\n## Two\n", "One"),
        ("Before.\n\n  ##  Two  ##  \n", "Two"),
        ("```\n# a comment\n```\n# Real\n", "Real"),
        ("~~~\n# a\n```\n# b\n~~~\n### Real", "Real"),
        ("---\ntitle: x\n# no\n---\n# Real\n", "Real"),
        ("---\n# not closed\n", "not closed"),
        ("#no space\n", "page"),
        ("", "page"),
        ("# a\x1b[2Jb\tc\u202e\r\n", "a [2Jb c"),
        ("# " + "x" * 400, "x" * 300),
    ],
)
def test_the_title_is_the_first_heading(text: str, title: str) -> None:
    """As a reader of Markdown sees it, on one line and within bounds; the file's name where there is none."""
    assert title_of(text, "folder/page.md", True) == title


def test_plain_text_is_titled_by_its_name() -> None:
    """A line of plain text that begins with # is no heading."""
    assert title_of("# x", "folder/My page.txt", False) == "My page"
