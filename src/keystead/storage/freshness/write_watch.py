"""The watch over a database's statements: writes invalidate cached verifications unless they keep access.

A transaction that keeps access was opened so, because it changes nothing that a verification has read; each of its
statements is checked before it runs. So a new kind of write is safe by default, and a wrong `keeps_access` is an error
at its first execution, on either engine.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Column, Connection, Engine, Table, event
from sqlalchemy.sql import visitors

from keystead.storage.freshness.generation_file import GenerationFile
from keystead.storage.schema.verification_reads import CREDENTIAL, KEY, KEY_DETAILS

KEEPS_ACCESS: Final = "keystead_keeps_access"
"""The key of a connection's `info` under which is whether its transaction keeps access."""
STATEMENTS_LEFT: Final = "keystead_statements_left"
"""The key under which is how many statements its transaction may still execute; None for any number."""

_READS: Final = ("BEGIN", "PRAGMA", "SELECT", "SET", "SHOW")
_CHANGES: Final = ("DELETE", "INSERT", "UPDATE", "WITH")
_CHANGED_TABLE: Final = re.compile(
    r'\b(?:INTO|UPDATE(?:\s+OR\s+\w+)?|DELETE\s+FROM)\s+(?:ONLY\s+)?(?:"?\w+"?\.)?"?(?P<table>\w+)',
    re.IGNORECASE,
)
_EVENT_NUMBER: Final = re.compile(
    r"UPDATE workspaces SET last_event=\(workspaces\.last_event \+ (?:\?|%\(\w+\)s(?:::\w+)?)\) WHERE "
)


class StatementsExceeded(Exception):
    """A further statement in a transaction that was opened for fewer: this program's fault."""


class AccessChange(Exception):
    """A statement that may change access, in a transaction that was to keep it: this program's fault."""


def _tables_read() -> frozenset[str]:
    """Return the tables that a verification reads."""
    return frozenset(
        element.table.name
        for query in (KEY, KEY_DETAILS, CREDENTIAL)
        for element in visitors.iterate(query.one)
        if isinstance(element, Column) and isinstance(element.table, Table)
    )


TABLES: Final = _tables_read()
_NEW_ROW: Final = re.compile(
    rf"INSERT INTO ({'|'.join(sorted(TABLES))})\b(?!.*\bON CONFLICT\b)", re.DOTALL
)


def watch(engine: Engine, generation_file: GenerationFile | None) -> None:
    """Invalidate the generation before the first change of a transaction, or check that access is kept.

    Args:
        engine: The engine whose statements are watched.
        generation_file: SQLite's; None if nothing is cached.
    """

    def before(connection: Connection, _: Any, statement: str, *__: Any) -> None:
        info = connection.info
        left = info.get(STATEMENTS_LEFT)
        if left is not None:
            if not left:
                raise StatementsExceeded
            info[STATEMENTS_LEFT] = left - 1
        if first_word(statement) in _READS:
            return
        if info.get(KEEPS_ACCESS):
            require_access_kept(statement)
        elif generation_file is not None:
            generation_file.invalidate()

    event.listen(engine, "before_cursor_execute", before)


@lru_cache(256)
def require_access_kept(statement: str) -> None:
    """Raise AccessChange if the statement may change what a verification has read.

    A new row may not: nothing is cached about an id that was absent. Neither may the number of a workspace's last
    event, which most writes raise. Statements other than INSERT, UPDATE and DELETE are refused unread.
    """
    if first_word(statement) not in _CHANGES:
        raise AccessChange(f"{first_word(statement)} is not allowed in a write that keeps access.")
    changed = [match["table"].lower() for match in _CHANGED_TABLE.finditer(statement)]
    watched = [table for table in changed if table in TABLES]
    keeps = _NEW_ROW.match(statement) or _EVENT_NUMBER.match(statement)
    if len(watched) > bool(keeps):
        raise AccessChange(f"A write that keeps access must not change {watched[-1]}.")


@lru_cache(512)
def first_word(statement: str) -> str:
    """Return the statement's keyword in capitals."""
    return statement.split(maxsplit=1)[0].upper()
