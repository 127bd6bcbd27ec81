"""How the time of reading grows with the input: n, 2n and 4n in one run, as CPU time of this process."""

from __future__ import annotations

import ast
import gc
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice, product
from time import process_time
from types import MappingProxyType, ModuleType
from typing import Any, Final

import keystead
from keystead.domain.errors import KeysteadError
from tests.support import django_project as django_site

codes: Any = importlib.import_module("re._constants")
parser: Any = importlib.import_module("re._parser")
"""How `re` reads a pattern itself: its letters are what the pattern is tried with."""

WORST: Final = 2.5
"""By how much the time may grow when the size doubles; linear is 2."""
TINY: Final = 0.002
"""CPU seconds below which the largest size is quick, however it grew."""
CLEAR: Final = 3.3
"""Growth that is measured in three rounds: quadratic is 4, and no disturbance of all three makes so much of 2."""
ATTEMPTS: Final = 5
ROUNDS: Final = 15
ENDLESS: Final = 2.0
"""CPU seconds after which a measurement takes no further round, if it has had three."""

Act = Callable[[Any], object]


def growth(
    act: Act, make: Callable[[int], Any], longest: int, clock: Callable[[], float] = process_time
) -> float:
    """Return the growth of the time per doubling up to `longest`, the best of several rounds; 0 if it is quick anyway.

    `clock`: CPU seconds of the process that reads; it is this one, unless a server's is given.
    """
    worst = 0.0
    for _ in range(ATTEMPTS):
        # Between the bound and what no linear reader shows, new texts, elsewhere in memory, are measured.
        worst = _growth([make(longest // 4), make(longest // 2), make(longest)], act, clock)
        if not WORST < worst < CLEAR:
            break
    return worst


def _growth(inputs: list[Any], act: Act, clock: Callable[[], float]) -> float:
    best = [float("inf")] * len(inputs)
    worst = spent = 0.0
    with _without_collection():
        for number in range(ROUNDS):
            for place, value in enumerate(inputs):
                duration = seconds(act, value, clock)
                best[place], spent = min(best[place], duration), spent + duration
            worst = _doubling(best)
            if worst <= WORST or (number >= 2 and (worst >= CLEAR or spent > ENDLESS)):
                break  # what was disturbed is measured again, what is linear or quadratic once is so
    return worst


@contextmanager
def _without_collection() -> Iterator[None]:
    """Disable garbage collection, which would distort a measurement."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _doubling(best: list[float]) -> float:
    if best[-1] <= TINY:
        return 0.0
    # The mean of both doublings: a single one can meet a step, such as the end of a cache. And of two tiny times the
    # ratio says nothing, so the smallest counts as a tenth of the bound at least.
    return float((best[-1] / max(best[0], TINY / 10)) ** (1 / (len(best) - 1)))


def seconds(act: Act, value: Any, clock: Callable[[], float] = process_time) -> float:
    """Return the CPU time that reading takes, in all threads of the process; a refusal is a valid outcome."""
    started = clock()
    with suppress(KeysteadError, ValueError, LookupError):
        act(value)
    return clock() - started


def pumped(pump: str, before: str = "", after: str = "") -> Callable[[int], str]:
    """Return a function that repeats a text up to a size."""
    return lambda size: (
        before + pump * (max(size - len(before) - len(after), 0) // len(pump)) + after
    )


# --- every compiled pattern, with the methods that it is used by ---

METHODS: Final = frozenset(
    {"match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
)
_AT_LOAD: Final = frozenset({"compile", "escape"})
_NOT_IMPORTED: Final = re.compile(r"__main__$|\.env$")
"""Modules that act when they are imported."""

Uses = Mapping[re.Pattern[Any], set[str]]


def modules() -> Iterator[ModuleType]:
    """Import all modules of the product."""
    django_site.begin()  # its integration can only be imported in a configured process
    for info in pkgutil.walk_packages(keystead.__path__, "keystead."):
        if not _NOT_IMPORTED.search(info.name):
            yield importlib.import_module(info.name)


def patterns() -> Uses:
    """Return all patterns that modules hold, in a constant or a container, with the methods that use them."""
    uses: dict[re.Pattern[Any], set[str]] = {}
    for module in modules():
        for pattern, methods in patterns_in(module, inspect.getsource(module)).items():
            uses.setdefault(pattern, set()).update(methods)
    return uses


def patterns_in(module: ModuleType, source: str) -> Uses:
    """Return the patterns of one module."""
    uses: dict[re.Pattern[Any], set[str]] = {}
    for value in vars(module).values():
        for pattern in _within(value):
            uses.setdefault(pattern, set())
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in METHODS:
            for pattern in _within(_resolved(node.value, module)):
                uses.setdefault(pattern, set()).add(node.attr)
    return uses


def hidden_patterns(source: str) -> list[int]:
    """Return the lines that hide a pattern from `patterns`: not compiled in a constant, or passed to `re` as a text."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            lines += [call.lineno for call in _calls_of_re(node) if call.func.attr == "compile"]  # type: ignore[attr-defined]
    every = _calls_of_re(ast.parse(source))
    return lines + [call.lineno for call in every if call.func.attr not in _AT_LOAD]  # type: ignore[attr-defined]


def _calls_of_re(tree: ast.AST) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
    ]


def _within(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict | MappingProxyType):
        yield from (part for part in list(value.values()) if isinstance(part, re.Pattern))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (part for part in value if isinstance(part, re.Pattern))


def _resolved(node: ast.expr, module: ModuleType) -> object:
    match node:
        case ast.Name(id):
            return getattr(module, id, None)
        case ast.Attribute(ast.Name(id), attr):
            return getattr(getattr(module, id, None), attr, None)
        case ast.Subscript(value):
            return _resolved(value, module)
    return None


# --- what a pattern is slow on, if it is: made of its own letters ---

FLAGGED: Final = 0.0015
"""CPU seconds of a short text from which it is measured whether they grow."""
SHORT: Final = (24, 80, 400, 2_000, 8_000)
_MOST_LETTERS: Final = 8
_OTHER: Final = "\n\0"
"""What ends a text that nearly matched; hardly a pattern takes both."""


def worst_of(pattern: re.Pattern[Any], method: str) -> tuple[float, str]:
    """Return the worst growth of the pattern over texts made for it, and the text in short."""
    act = _act(pattern, method)
    worst = (0.0, "")
    for before, pump, after in _attempts(pattern):
        make = _maker(pattern, pumped(pump, before, after))
        if (longest := _suspicious(act, make)) is None:
            continue
        worst = max(worst, (growth(act, make, longest), f"{before!r} + {pump!r}… + {after!r}"))
        if worst[0] > WORST:
            break
    return worst


def _suspicious(act: Act, make: Callable[[int], Any]) -> int | None:
    """Return up to which size to measure growth: small if a small text is slow already; None if no text is slow."""
    for size in SHORT:
        value = make(size)
        if seconds(act, value) < FLAGGED:
            continue
        # Measured again: one that was disturbed would have growth measured at a size that is quick anyway.
        if (duration := min(seconds(act, value) for _ in range(3))) >= FLAGGED:
            return size if duration >= 10 * FLAGGED else 4 * size
    return None


def _act(pattern: re.Pattern[Any], method: str) -> Act:
    call = getattr(pattern, method)
    if method in {"sub", "subn"}:
        empty = "" if isinstance(pattern.pattern, str) else b""
        return lambda value: call(empty, value)
    if method == "finditer":
        return lambda value: sum(1 for _ in call(value))
    return call  # type: ignore[no-any-return]


def _maker(pattern: re.Pattern[Any], make: Callable[[int], str]) -> Callable[[int], Any]:
    if isinstance(pattern.pattern, str):
        return make
    return lambda size: make(size).encode("latin-1", "replace")


def _attempts(pattern: re.Pattern[Any]) -> Iterator[tuple[str, str, str]]:
    text = (
        pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    )
    # A text's pattern has the flag UNICODE, which its bytes' twin would not take.
    tree = list(_flat(parser.parse(text, pattern.flags & ~(re.UNICODE | re.ASCII))))
    letters = list(dict.fromkeys(_letters(tree)))[:_MOST_LETTERS] or ["x"]
    befores = dict.fromkeys(_sample(tree[:length]) for length in range(min(len(tree), 8) + 1))
    pumps = letters + ["".join(pair) for pair in product(letters, repeat=2) if pair[0] != pair[1]]
    pumps += [before for before in befores if 2 < len(before) < 20]
    yield from product(befores, pumps, ("", _OTHER, letters[0] + _OTHER))


def _flat(tree: Any) -> Iterator[tuple[Any, Any]]:
    for code, argument in tree:
        if code is codes.SUBPATTERN:
            yield from _flat(argument[3])
        else:
            yield code, argument


def _letters(tree: Iterable[tuple[Any, Any]]) -> Iterator[str]:
    for code, argument in tree:
        if code is codes.LITERAL:
            yield chr(argument)
        elif code in {codes.ANY, codes.NOT_LITERAL}:
            yield "x"
        elif code is codes.IN:
            yield from islice(_of_set(argument), 4)
        elif code is codes.BRANCH:
            for branch in argument[1]:
                yield from _letters(_flat(branch))
        elif code in {codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT}:
            yield from _letters(_flat(argument[2]))
        elif code is codes.ATOMIC_GROUP:
            yield from _letters(_flat(argument))


def _of_set(members: Any) -> Iterator[str]:
    if members[0][0] is codes.NEGATE:
        inside = set(_of_set(members[1:]))
        yield from (letter for letter in "ax 0." if letter not in inside)
        return
    for code, argument in members:
        if code is codes.LITERAL:
            yield chr(argument)
        elif code is codes.RANGE:
            yield chr(argument[0])
        elif code is codes.CATEGORY:
            yield from {"SPACE": " \t", "DIGIT": "0", "WORD": "a_"}.get(str(argument)[9:], ".")


def _sample(tree: Iterable[tuple[Any, Any]]) -> str:
    """Return a short text that matches, or nearly."""
    text = ""
    for code, argument in tree:
        if code in {codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT}:
            text += _sample(_flat(argument[2])) * min(max(argument[0], 1), 64)
        elif code is codes.BRANCH:
            text += _sample(_flat(argument[1][0]))
        else:
            text += next(_letters([(code, argument)]), "")
    return text
