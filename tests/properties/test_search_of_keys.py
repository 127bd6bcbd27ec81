"""Searching for keys: the same answers from both engines and from a definition of one line, for any query."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead.domain.keys import KeyDraft, fold_for_search
from keystead.domain.principals import Principal
from keystead.storage.schema.tables import api_keys
from tests.support.administrator import write_behind
from tests.support.installations import ENGINES, SandboxInstallation, fresh_sandbox

LETTERS = st.sampled_from(
    "aAbB10%_\\/'\"; \u00e9e\u0301\u00dfs\u0131\u0130i\u03a3\u03c2\u03c3\ufb01\uff21\ud55c\u1112\U0001f600"
)
LINES = st.text(LETTERS, min_size=1, max_size=6).filter(lambda text: not text.isspace())
ANY_LINE = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20
).filter(lambda text: not text.isspace())

Shelf = list[tuple[SandboxInstallation, Principal]]


@pytest.fixture(scope="module")
def shelf(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shelf]:
    """A workspace on each engine."""
    with (
        fresh_sandbox(request, tmp_path_factory, ENGINES[0]) as embedded,
        fresh_sandbox(request, tmp_path_factory, ENGINES[1]) as served,
    ):
        yield [(sandbox, sandbox.tenant()) for sandbox in (embedded, served)]


def _found(shelf: Shelf, descriptions: list[str], queries: list[str]) -> list[list[list[str]]]:
    """Return the descriptions of the matches for each engine and query, newest first."""
    answers = []
    for sandbox, tenant in shelf:
        with write_behind(sandbox.database) as tx:
            tx.execute(api_keys.delete().where(api_keys.c.workspace_id == tenant.workspace_id))
        for description in descriptions:
            sandbox.services.keys.create(tenant, KeyDraft(description))
        answers.append(
            [[key.description for key in sandbox.keys(tenant, query=query)] for query in queries]
        )
    return answers


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES | ANY_LINE, min_size=1, max_size=4), st.lists(LINES, min_size=1, max_size=6))
def test_equal_on_both_engines(shelf: Shelf, descriptions: list[str], queries: list[str]) -> None:
    """Both engines find what the definition says: the query's folded form within the description's, in any script."""
    queries = [
        query for query in queries if len(query) != 4
    ]  # four characters may also be the end of a token
    expected = [
        [text for text in reversed(descriptions) if fold_for_search(query) in fold_for_search(text)]
        for query in queries
    ]
    for answers in _found(shelf, descriptions, queries):
        assert answers == expected


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES)
def test_every_part_is_found(shelf: Shelf, description: str) -> None:
    """A key is found by every part of its description, on both engines."""
    parts = {description[begin:end] for begin, end in combinations(range(len(description) + 1), 2)}
    for answers in _found(shelf, [description], sorted(parts)):
        assert answers == [[description]] * len(parts)


def test_wildcards_are_letters(shelf: Shelf) -> None:
    """Percent, underscore and backslash have no special meaning, on both engines."""
    descriptions = ["100%", "1000", "a_b", "a-b", "c\\d", "c/d"]
    expected = [["100%"], ["a_b"], ["c\\d"], ["c/d"], ["100%"], ["a_b"]]
    for answers in _found(shelf, descriptions, ["%", "_", "\\", "/", "0%", "a_"]):
        assert answers == expected
