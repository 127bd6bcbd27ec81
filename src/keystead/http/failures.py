"""What may be told of an exception: its types and the places it came through, never its text."""

from __future__ import annotations

from collections.abc import Iterator
from traceback import walk_tb

FRAMES = 20


def type_names(error: BaseException) -> list[str]:
    """The types of the exception and of what caused it, the last one first."""
    return [f"{type(link).__module__}.{type(link).__qualname__}" for link in _chain(error)]


def places(error: BaseException) -> list[str]:
    """The innermost places that the exception and its causes came through, as `module:line function`."""
    return [
        f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
        for link in reversed(list(_chain(error)))
        for frame, line in walk_tb(link.__traceback__)
    ][-FRAMES:]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
