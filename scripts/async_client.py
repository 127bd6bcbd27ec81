"""Generate the asynchronous half of the SDK, `client/_async`, from the synchronous half, `client/_sync`.

    python3 scripts/async_client.py

Names get their asynchronous counterparts, calls that do I/O get `await`, and functions with such a call get `async`.
The script needs ruff, which formats what it writes.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "src/keystead/client/_sync"
TARGET: Final = ROOT / "src/keystead/client/_async"

HEADER: Final = "# Generated from client/_sync/{name} by `make async-client`; do not edit.\n"
AWAITED: Final = {
    *("_attempt", "_create", "_receive", "close", "download", "read", "request", "send", "sleep"),
    *("_create_collection", "_push_batch", "delete_missing", "missing"),
}
"""The methods that do I/O, or wait."""
NAMES: Final = {
    "BaseTransport": "AsyncBaseTransport",
    "Iterator": "AsyncIterator",
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
    "_sync": "_async",
    "time": "asyncio",
}
"""Names with a counterpart, besides the classes of the synchronous half: Client becomes AsyncClient."""
PHRASES: Final = {
    "with self._http.stream(": "async with self._http.stream(",
    "for part in response.iter_bytes()": "async for part in response.aiter_bytes()",
    "response.read()": "response.aread()",
    "self._http.close()": "self._http.aclose()",
    "Threads may share it.": "It belongs to one event loop.",
    "that wait, written by hand. `make async-client` generates `_async` from this folder.": "that await.",
}

Edit = tuple[int, int, int, str]
"""A line, the columns from and to which it is replaced, and the text."""


def main() -> None:
    """Write every file of the asynchronous half, and remove those without a source."""
    TARGET.mkdir(exist_ok=True)
    generated = generate()
    for name, text in generated.items():
        (TARGET / name).write_text(text)
    for path in TARGET.glob("*.py"):
        if path.name not in generated:
            path.unlink()


def generate() -> dict[str, str]:
    """Return the text of each file of the asynchronous half."""
    sources = {path.name: path.read_text() for path in sorted(SOURCE.glob("*.py"))}
    names = NAMES | {name: f"Async{name}" for text in sources.values() for name in classes(text)}
    return {
        name: formatted(HEADER.format(name=name) + translated(text, names))
        for name, text in sources.items()
    }


def classes(source: str) -> list[str]:
    """Return the classes that a module defines."""
    return [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]


def translated(source: str, names: dict[str, str]) -> str:
    """Return the asynchronous form of a module."""
    lines = source.splitlines(keepends=True)
    edits = [*renamed(source, names), *awaited(ast.parse(source))]
    # From the end to the beginning, so that no edit moves the place of another.
    for line, start, end, text in sorted(edits, reverse=True):
        row = lines[line - 1]
        lines[line - 1] = row[:start] + text + row[end:]
    text = "".join(lines)
    for phrase, replacement in PHRASES.items():
        text = text.replace(phrase, replacement)
    return text


def renamed(source: str, names: dict[str, str]) -> Iterator[Edit]:
    """Yield the edits that replace names. Text in strings and comments stays."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string in names:
            yield *token.start, token.end[1], names[token.string]


def awaited(tree: ast.Module) -> Iterator[Edit]:
    """Yield the edits that make functions asynchronous."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        calls = [
            node for node in ast.walk(function) if isinstance(node, ast.Call) and does_io(node)
        ]
        is_abstract = any("abstractmethod" in ast.unparse(each) for each in function.decorator_list)
        if calls or is_abstract or function.name in {"__enter__", "__exit__"}:
            yield insertion(function, "async ")
        yield from (insertion(call, "await ") for call in calls)
        # An asynchronous generator cannot delegate to another iterable.
        for node in ast.walk(function):
            if isinstance(node, ast.YieldFrom):
                start, end = node.col_offset, node.end_col_offset or 0
                loop = f"for item in {ast.unparse(node.value)}:\n{' ' * start}    yield item"
                yield node.lineno, start, end, loop


def does_io(call: ast.Call) -> bool:
    """Return whether it is the call of a method that does I/O."""
    return isinstance(call.func, ast.Attribute) and call.func.attr in AWAITED


def insertion(node: ast.Call | ast.FunctionDef, text: str) -> Edit:
    """Return the edit that puts `text` before a node."""
    return node.lineno, node.col_offset, node.col_offset, text


def formatted(source: str) -> str:
    """Return the source with its imports sorted, in the layout of the project."""
    ruff = [sys.executable, "-m", "ruff"]
    name = ["--stdin-filename", str(TARGET / "module.py"), "-"]
    for command in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        done = subprocess.run(
            [*ruff, *command, *name], input=source, capture_output=True, text=True, check=True
        )
        source = done.stdout
    return source


if __name__ == "__main__":
    main()
