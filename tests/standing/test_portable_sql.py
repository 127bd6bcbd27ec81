"""SQL that engines with PostgreSQL's protocol may lack is only where the pages say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "keystead"
STORAGE = SOURCE / "storage"
WRITES = {"write", "write_across", "changing", "operating", "_changing", "_managing"}
"""Names of methods that open a change; the last two are shorthands of webhooks and members."""
OPENS = {"read", "read_once", "read_across", "read_reserved"} | WRITES
"""Names of methods that open a transaction."""
FORMS = {
    "sequence": r"\b(?:BIG|SMALL)?SERIAL\b|\bIdentity\(|\bSequence\(|\bnextval\b|\bCREATE SEQUENCE\b|\bGENERATED\b",
    "advisory lock": r"\bpg_(?:try_)?advisory\w*",
    "lock of a table": r"\bLOCK TABLE\b",
    "trigger": r"\bCREATE (?:CONSTRAINT )?TRIGGER\b",
}
WHERE = {
    "sequence": {"schema/tables.py", "migrations/versions/r0001_first_schema.py"},
    "advisory lock": {"row_security/apply.py", "tables/credentials.py", "tables/deletion.py"},
    "lock of a table": {"moving/postgresql.py", "tables/plans.py"},
    "trigger": {
        "schema/key_count_triggers.py",
        "schema/search.py",
        "migrations/versions/r0001_first_schema.py",
        "migrations/versions/r0002_words_by_segment.py",
    },
}
"""The known places of each, as docs/scaling.md describes them."""
TIMES = {"sequence": 2, "advisory lock": 4, "lock of a table": 2}
"""The number of a document's row, in the schema and its migration; the lock of migrations, those of an
operator's credential, that of a purge; that of the plans, and that of all tables during a move.
"""


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_only_in_its_known_places(form: str) -> None:
    """No second sequence, advisory lock, table lock or trigger gets in unnoticed."""
    names = {
        str(path.relative_to(STORAGE)): len(re.findall(FORMS[form], path.read_text()))
        for path in [*STORAGE.rglob("*.py"), *STORAGE.rglob("*.mako")]
    }
    assert {name for name, times in names.items() if times} == WHERE[form]
    assert form not in TIMES or sum(names.values()) == TIMES[form]


def test_only_storage_contains_sql() -> None:
    """None of them is outside of storage, where contract 3 allows no SQL."""
    others = [path for path in SOURCE.rglob("*.py") if STORAGE not in path.parents]
    others_with_locks = [
        path.name for path in others if re.search(FORMS["advisory lock"], path.read_text())
    ]
    assert others_with_locks == []


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield every function of the services, by file and name."""
    for path in sorted((SOURCE / "services").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.name}: {node.name}", node


def transactions(function: ast.AST) -> list[str]:
    """Return the transactions that it opens itself, in order; not those of functions within it."""
    names = []
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.With | ast.AsyncWith):
            names += [name for item in node.items if (name := opened(item.context_expr))]
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            names += transactions(node)
    return names


def opened(expression: ast.expr) -> str | None:
    """Return `write` for `self._database.write(...)`; None if it opens nothing."""
    match expression:
        case ast.Call(func=ast.Attribute(attr=name)) if name in OPENS:
            return name
    return None


def decorators(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Return the names of its decorators."""
    return {ast.unparse(one) for one in function.decorator_list}


def test_every_transaction_is_retried_on_conflict() -> None:
    """Each use case that may be rolled back for a conflict is retried, and does nothing twice.

    A function that opens transactions is decorated, and writes only in the last one, not in a loop.
    """
    seen = 0
    for name, function in functions():
        own = transactions(function)
        if not own or "contextmanager" in decorators(function):
            assert set(own) <= {"write", "write_across"}, name
            continue
        seen += 1
        assert "retry_on_conflict" in decorators(function), f"{name} is not retried"
        assert not WRITES & set(own[:-1]), f"{name} writes before its last transaction"
        loops = [n for n in ast.walk(function) if isinstance(n, ast.For | ast.While)]
        assert not any(WRITES & set(transactions(loop)) for loop in loops), f"{name} loops"
    assert seen > 100


def calls_of(function: ast.AST) -> Iterator[tuple[int, str]]:
    """Return what it calls through `self`, with the line: `keep_pace` of `self._throttle.keep_pace(...)`."""
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) as called):
                if ast.unparse(called).startswith("self."):
                    yield node.lineno, name


def writers() -> set[str]:
    """Return the names of functions that write, themselves or by what they call."""
    names = {node.name for _, node in functions() if WRITES & set(transactions(node))}
    while True:
        more = {
            node.name for _, node in functions() if names & {name for _, name in calls_of(node)}
        }
        if more <= names:
            return names
        names |= more


def test_nothing_that_is_done_is_done_again() -> None:
    """A retried function calls nothing that writes by itself before its own last transaction."""
    writing, seen = writers() - OPENS, 0
    for name, function in functions():
        if "retry_on_conflict" not in decorators(function):
            continue
        lines = [
            node.lineno
            for node in ast.walk(function)
            if isinstance(node, ast.With) and any(opened(item.context_expr) for item in node.items)
        ]
        before = {called for line, called in calls_of(function) if line < max(lines)}
        assert not before & writing, f"{name} is done again: {before & writing}"
        seen += 1
    assert seen > 100
