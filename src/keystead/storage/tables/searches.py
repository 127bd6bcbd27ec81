"""Searches of a collection's documents: the newest matches by the index of words. Every statement names the workspace.

The index is looked up segment by segment, the newest first, until there are enough matches: what a search costs depends
neither on how common its words are nor on how much a prefix matches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnClause, bindparam, column, text

from keystead.domain.documents import Collection
from keystead.domain.search import CANDIDATES, MAX_SEGMENTS, SEGMENT, Clause
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import Count
from keystead.storage.schema.search import term_prefix

_MATCH: Final[tuple[ColumnClause[Any], ...]] = (column("number"), column("title"))
_SEGMENTS: Final = Query(
    text(
        """
    WITH RECURSIVE newest (number) AS (
        SELECT max(number) FROM documents
        WHERE workspace_id = :workspace_id AND collection_id = :collection_id AND number <= :through
        UNION ALL
        SELECT (
            SELECT max(documents.number) FROM documents
            WHERE workspace_id = :workspace_id AND collection_id = :collection_id
            AND documents.number < (newest.number / :segment) * :segment
        ) FROM newest WHERE newest.number IS NOT NULL
    )
    SELECT number FROM newest WHERE number IS NOT NULL LIMIT :most
    """
    )
    .bindparams(bindparam("through", type_=Count), segment=SEGMENT, most=MAX_SEGMENTS + 1)
    .columns(column("number"))
)
"""The highest number in each segment that has documents, one descent of the index for each."""
_MATCHES: Final = {
    "sqlite": Query(
        text(
            """
    SELECT documents.number, documents.title FROM (
        SELECT serial FROM (
            SELECT document_search.rowid AS serial FROM json_each(:queries) AS segment CROSS JOIN document_search
            WHERE document_search MATCH segment.value AND document_search.rowid <= (
                SELECT serial FROM documents
                WHERE workspace_id = :workspace_id AND collection_id = :collection_id AND number = :newest
            ) LIMIT :enough
        ) ORDER BY serial DESC LIMIT :most
    ) AS found CROSS JOIN documents ON documents.serial = found.serial
    WHERE documents.workspace_id = :workspace_id AND documents.collection_id = :collection_id
    """
        )
        .bindparams(most=CANDIDATES + 1, enough=CANDIDATES + SEGMENT)
        .columns(*_MATCH)
    ),
    "postgresql": Query(
        text(
            """
    SELECT documents.number, documents.title FROM (
        SELECT newest.serial FROM unnest(CAST(:queries AS text[])) AS segment (query) CROSS JOIN LATERAL (
            SELECT serial FROM document_words
            WHERE words @@ CAST(segment.query AS tsquery) AND serial + 0 <= (
                SELECT serial FROM documents
                WHERE workspace_id = :workspace_id AND collection_id = :collection_id AND number = :newest
            ) ORDER BY serial + 0 DESC LIMIT :most
        ) AS newest LIMIT :most
    ) AS found JOIN documents ON documents.serial = found.serial
    WHERE documents.workspace_id = :workspace_id AND documents.collection_id = :collection_id
    """
        )
        .bindparams(most=CANDIDATES + 1)
        .columns(*_MATCH)
    ),
}
"""For each engine. FTS5 returns the matches of a segment oldest first: so many are enough that the last segment may be
left out. `serial + 0` keeps PostgreSQL from walking the primary key through the documents of all workspaces.
"""
_PREPARE_POSTGRESQL: Final = text(
    "SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)"
)
"""PostgreSQL underestimates a sequential scan, because it ignores the cost of reading the tsvectors."""


class Match(NamedTuple):
    """A document that fulfils all clauses."""

    number: int
    title: str


def newest_numbers(tx: Tx, collection: Collection, through: int) -> list[int]:
    """Return the highest number in each segment that has documents, newest first, none above `through`.

    One more than MAX_SEGMENTS says that there are others.
    """
    values = _within(collection) | {"through": through}
    return _SEGMENTS.scalars(tx, values)


def newest_matches(
    tx: Tx, collection: Collection, numbers: Sequence[int], clauses: Sequence[Clause]
) -> list[Match]:
    """Return the newest documents that fulfil all clauses, in any order.

    One more than CANDIDATES says that there are others. `numbers` are those from `newest_numbers`: the documents of
    their segments are searched, none above the first.
    """
    if not numbers:
        return []
    engine = tx.dialect.name
    template = _fts5_query(clauses) if engine == "sqlite" else _tsquery(clauses)
    prefixes = (term_prefix(collection.id, number // SEGMENT) for number in numbers)
    queries = [template.replace("@", prefix) for prefix in prefixes]
    values = _within(collection) | {"newest": numbers[0]}
    if engine == "sqlite":
        values["queries"] = json.dumps(queries)
    else:
        values["queries"] = queries
        tx.execute(_PREPARE_POSTGRESQL)
    return [Match(*row) for row in _MATCHES[engine].all(tx, values)]


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
