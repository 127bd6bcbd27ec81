"""The ID and the title of a file's document."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.client.folders.files import front_matter, id_of, title_of
from keystead.domain.documents import is_document_id
from tests.support.growth import WORST, growth

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
def test_an_id_is_derived_from_the_path(name: str, id: str) -> None:
    """Folders are separated by two hyphens; if something is lost, part of the path's hash makes the id unique."""
    assert id_of(name) == id


@given(PATHS, PATHS)
def test_two_paths_never_share_an_id(one: str, other: str) -> None:
    """Any two paths have valid IDs, which are equal only if the paths are (however accents are written)."""
    assert is_document_id(id_of(one))
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    assert (id_of(one) == id_of(other)) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [("a/b", "a--b"), ("a/-b", "a-/b"), ("a-/-b", "a/b"), ("a b", "a-b"), ("x" * 200, "x" * 201)],
)
def test_similar_paths_have_different_ids(one: str, other: str) -> None:
    """Pairs that a plain replacement of characters would confuse have different IDs."""
    assert id_of(one) != id_of(other)


HEADINGS = [
    ("# One\n\n## Two\n", "One"),
    ("Before.\n\n  ##  Two  ##  \n", "Two"),
    ("```\n# a comment\n```\n# Real\n", "Real"),
    ("~~~\n# a\n```\n# b\n~~~\n### Real", "Real"),
    ("````\n```\n# a\n````\n# Real", "Real"),
    ("```a``` is code\n# Real", "Real"),
    ("---\n# not closed\n", "not closed"),
    ("<!--\n# Licence\n-->\n# Real\n", "Real"),
    ("#no space\n", "page"),
    ("#\n# \u200b\n# Real\n", "Real"),
    ("# C#\n", "C#"),
    ("# C #\n", "C"),
    ("# #\n", "page"),
    ("", "page"),
    ("# a\x1b[2Jb\tc\u202e\r\n", "a [2Jb c"),
    ("# " + "x" * 400, "x" * 300),
]
UNDERLINED = [
    ("Title\n=====\n", "Title"),
    ("Title\n---\n", "Title"),
    ("Title\r\n===\r\n\r\n# Other\r\n", "Title"),
    ("  Two\nlines  \n   ==  \n", "Two lines"),
    ("Text.\n\nTitle\n-\n\n# Other", "Title"),
    ("<!-- a badge -->\nTitle\n===\n", "Title"),
    ("# One\nTwo\n===\n", "One"),
    ("Title\n===x\n", "page"),
    ("Title\n= =\n", "page"),
    ("Title\n\n===\n", "page"),
    ("    code\n---\n", "page"),
    ("- item\n---\n", "page"),
    ("1. item\n---\n", "page"),
    ("- item\nlazy\n===\n", "page"),
    ("> quoted\n---\n", "page"),
    ("<div>\n---\n", "page"),
    ("[link]: /url\n===\n", "page"),
    ("a | b\n--- | ---\n", "page"),
    ("***\n---\n", "page"),
    ("```\nTitle\n===\n```\n", "page"),
    ("> quoted\n---\nTitle\n===\n", "Title"),
]
FRONT = [
    ("title: Named\n", "Named"),
    ("layout: page\ntitle: 'It''s here'   # why\ntags: [a]\n", "It's here"),
    ('title: "A \\"quoted\\": one \\u00e9"\n', 'A "quoted": one é'),
    ("title: C# in depth # a note\n", "C# in depth"),
    ("title: 2024\n", "2024"),
    ("title: a\x1b[2J\n", "a [2J"),
    ("title : spaced\n", "spaced"),
    ("title:\n", "Real"),
    ("title: ~\n", "Real"),
    ("title: # nothing\n", "Real"),
    ("title: '\u200b'\n", "Real"),
    ("title: |\n  folded\n", "Real"),
    ("title: [a, b]\n", "Real"),
    ("title: 'not closed\n", "Real"),
    ('title: "\\x41"\n', "Real"),
    ("page:\n  title: nested\n", "Real"),
    ("subtitle: Other\n# no\nOther\n===\n", "Real"),
    ("", "Real"),
]


@pytest.mark.parametrize(("text", "title"), HEADINGS)
def test_the_title_is_the_first_heading(text: str, title: str) -> None:
    """The heading that a reader of Markdown sees, on one line and within bounds; otherwise the file's name."""
    assert title_of(text, "folder/page.md", True) == title


@pytest.mark.parametrize(("text", "title"), UNDERLINED)
def test_an_underlined_line_is_a_heading(text: str, title: str) -> None:
    """A paragraph over `===` or `---` is a heading, unlike a line of code, a list, a quotation or HTML over it."""
    assert title_of(text, "folder/page.md", True) == title


@pytest.mark.parametrize("end", ["---", "..."])
@pytest.mark.parametrize(("members", "title"), FRONT)
def test_front_matter_gives_the_title(members: str, title: str, end: str) -> None:
    """The text that front matter names as `title` is the title; if it is not text on one line, the heading is."""
    assert title_of(f"---\n{members}{end}\n# Real\n", "folder/page.md", True) == title


@pytest.mark.parametrize(
    ("members", "value"),
    [
        ("tags: [a, 'b c', \"d\",]", ["a", "b c", "d"]),
        ("tags:\n- a\n  # why\n- 'b: c'\n", ["a", "b: c"]),
        ("tags:  # all\n  - a\n", ["a"]),
        ("tags: 2026-01-31", "2026-01-31"),
        ("tags: true", "true"),
        ("tags: []", None),
        ("tags: [a, [b]]", None),
        ("tags: [a, 'b, c']", None),
        ("tags: [a,\n  b]", None),
        ("tags:\n  - a: 1\n", None),
        ("tags:\n  a: 1\n", None),
        ("tags: |\n  - a\n", None),
        ("tags:\n", None),
    ],
)
def test_front_matter_gives_texts_and_lists_of_texts(
    members: str, value: str | list[str] | None
) -> None:
    """Other values are ignored as a whole, and never half read; the lines after them are read."""
    lines = f"---\n{members}\nlast: x\n---\n".split("\n")
    expected = {"last": "x"} | ({} if value is None else {"tags": value})
    assert front_matter(lines)[0] == expected


PUMPS = {
    "an endless list": lambda n: "---\na: [" + " ," * n + "\n---",
    "a long list": lambda n: "---\na:\n" + "-  b\n" * n + "---",
    "blanks before an item": lambda n: "---\na:\n" + " " * n + "- b\n---",
    "closing hashes": lambda n: "# " + " #" * n + "x",
    "blanks": lambda n: "# a" + " " * n + "x",
    "one paragraph": lambda n: "a\n" * n,
    "an underline that is none": lambda n: "a\n" + "=" * n + "x",
    "a break that is none": lambda n: "* " * n + "x",
    "a fence that is none": lambda n: "`" * n + "a`",
    "a link that is none": lambda n: "[" * n,
    "front matter": lambda n: "---\n" + "a: b\n" * n + "---",
    "a quoted title": lambda n: '---\ntitle: "' + "\\\\" * n + "\n---",
    "a single-quoted title": lambda n: "---\ntitle: '" + "''" * n + "\n---",
    "members without a value": lambda n: "---\na" + " " * n + "\n---",
    "comments": lambda n: "<!--\n" * n,
}


@pytest.mark.parametrize("pump", PUMPS.values(), ids=PUMPS)
def test_the_title_is_found_in_linear_time(pump: Callable[[int], str]) -> None:
    """Twice the text takes about twice as long."""
    assert growth(lambda text: title_of(text, "page.md", True), pump, 40_000) <= WORST


def test_plain_text_is_titled_by_its_name() -> None:
    """A line of plain text that begins with # is not a heading."""
    assert title_of("# x", "folder/My page.txt", False) == "My page"
