"""Searches of a collection's documents: the newest matches by the index of words. Every statement names the workspace.

The index is looked up segment by segment, the newest first, until there are enough matches: what a search costs depends
neither on how common its words are nor on how much a prefix matches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import bindparam, column, text

from keystead.domain import search as rules
from keystead.domain.documents import Collection
from keystead.domain.search import CANDIDATES, MAX_SEGMENTS, SEGMENT, Clause
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import Count
from keystead.storage.schema.search import term_prefix

_SEGMENTS: Final = """
    WITH RECURSIVE newest (number) AS (
        SELECT max(number) FROM documents
        WHERE workspace_id = :workspace_id AND collection_id = :collection_id AND number <= :through
        UNION ALL
        SELECT (
            SELECT max(documents.number) FROM documents
            WHERE workspace_id = :workspace_id AND collection_id = :collection_id
            AND documents.number < (newest.number / {segment}) * {segment}
        ) FROM newest WHERE newest.number IS NOT NULL
    )
    SELECT {columns} FROM newest WHERE number IS NOT NULL LIMIT {most}
"""
"""The highest number in each segment that has documents, one descent of the index for each."""
_SETTINGS: Final = "set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)"
"""For the next statement: PostgreSQL underestimates a sequential scan, as it ignores the cost of reading tsvectors."""
_NUMBERS: Final = tuple(
    Query(
        text(_SEGMENTS.format(columns=columns, most=MAX_SEGMENTS + 1, segment=SEGMENT))
        .bindparams(bindparam("through", type_=Count))
        .columns(column("number"), *others)
    )
    for columns, *others in (("number",), (f"number, {_SETTINGS}", column("_"), column("__")))
)
_NEWEST: Final = {
    "sqlite": """
        SELECT serial FROM (
            SELECT document_search.rowid AS serial FROM json_each(:{queries}) AS segment CROSS JOIN document_search
            WHERE document_search MATCH segment.value AND document_search.rowid <= (
                SELECT serial FROM documents
                WHERE workspace_id = :workspace_id AND collection_id = :collection_id AND number = :newest
            ) LIMIT {enough}
        ) ORDER BY serial DESC LIMIT {most}
    """,
    "postgresql": """
        SELECT newest.serial FROM unnest(CAST(:{queries} AS text[])) AS segment (query) CROSS JOIN LATERAL (
            SELECT serial FROM document_words
            WHERE words @@ CAST(segment.query AS tsquery) AND serial + 0 <= (
                SELECT serial FROM documents
                WHERE workspace_id = :workspace_id AND collection_id = :collection_id AND number = :newest
            ) ORDER BY serial + 0 DESC LIMIT {most}
        ) AS newest LIMIT {most}
    """,
}
"""The newest matches in each engine's index.

FTS5 returns the matches of a segment oldest first: so many are enough that the last segment may be left out.
`serial + 0` keeps PostgreSQL from walking the primary key through the documents of all workspaces.
"""
_MATCHED: Final = """
    SELECT document.number, document.title, {is_whole} FROM ({newest}) AS found CROSS JOIN {document}
"""
_DOCUMENT: Final = {
    "sqlite": """
        documents AS document WHERE document.serial = found.serial
        AND document.workspace_id = :workspace_id AND document.collection_id = :collection_id
    """,
    "postgresql": """
        LATERAL (
            SELECT number, title FROM documents WHERE documents.serial = found.serial
            AND documents.workspace_id = :workspace_id AND documents.collection_id = :collection_id OFFSET 0
        ) AS document
    """,
}
"""The row of a match. OFFSET keeps PostgreSQL from looking all words up again for each row of a new table."""
_MATCHES: Final = {
    engine: Query(
        text(
            " UNION ALL ".join(
                _MATCHED.format(
                    is_whole=is_whole,
                    document=_DOCUMENT[engine],
                    newest=newest.format(
                        queries=queries, most=CANDIDATES + 1, enough=CANDIDATES + SEGMENT
                    ),
                )
                for queries, is_whole in (("begun", 0), ("whole", 1))
            )
        ).columns(column("number"), column("title"), column("is_whole"))
    )
    for engine, newest in _NEWEST.items()
}
"""For each engine. Their limits are literals: SQLite prepares a statement again for each bound one."""

Match = tuple[int, str]
"""The number and the title of a document that fulfils all clauses."""


class Matches(NamedTuple):
    """The newest matches, in any order: with the last word as a beginning, and as a whole word."""

    begun: list[Match]
    whole: list[Match]


def newest_numbers(tx: Tx, collection: Collection, through: int) -> list[int]:
    """Return the highest number in each segment that has documents, newest first, none above `through`.

    One more than MAX_SEGMENTS says that there are others.
    """
    values = _within(collection) | {"through": through}
    return _NUMBERS[tx.dialect.name != "sqlite"].scalars(tx, values)


def newest_matches(
    tx: Tx, collection: Collection, numbers: Sequence[int], query: rules.Query
) -> Matches:
    """Return the newest documents that fulfil all clauses.

    One more than CANDIDATES of a kind says that there are others. `numbers` are those from `newest_numbers`: the
    documents of their segments are searched, none above the first.
    """
    if not numbers:
        return Matches([], [])
    is_sqlite = tx.dialect.name == "sqlite"
    written = _fts5_query if is_sqlite else _tsquery
    prefixes = [term_prefix(collection.id, number // SEGMENT) for number in numbers]
    values: dict[str, object] = _within(collection) | {"newest": numbers[0]}
    for name, is_begun in (("begun", True), ("whole", False)):
        queries: list[str] = []
        if query.has_prefix or not is_begun:
            template = written(query.clauses(prefix=is_begun))
            queries = [template.replace("@", prefix) for prefix in prefixes]
        values[name] = json.dumps(queries) if is_sqlite else queries
    matches = Matches([], [])
    for number, title, is_whole in _MATCHES[tx.dialect.name].all(tx, values):
        matches[is_whole].append((number, title))
    return matches


def _fts5_query(clauses: Sequence[Clause]) -> str:
    """Return the clauses in FTS5's language, with `@` for what stands before a term."""
    parts = (
        " OR ".join(f'"@{term.text}"{"*" * term.prefix}' for term in clause) for clause in clauses
    )
    return " AND ".join(f"({part})" for part in parts)


def _tsquery(clauses: Sequence[Clause]) -> str:
    """Return the clauses in the language of a tsquery, with `@` for what stands before a term."""
    parts = (
        " | ".join(f"'@{term.text}'{':*' * term.prefix}" for term in clause) for clause in clauses
    )
    return " & ".join(f"({part})" for part in parts)


def _within(collection: Collection) -> dict[str, object]:
    return {"workspace_id": collection.workspace_id, "collection_id": collection.id}
