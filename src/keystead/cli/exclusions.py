"""The files that a push leaves out: patterns of `--exclude` and `.keysteadignore`, written like .gitignore's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from pathlib import Path
from typing import Final

from keystead.cli.outcome import Exit, Failure

IGNORE_FILE: Final = ".keysteadignore"
_PART: Final = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?\]?[^\]/]{0,200}\]|.", re.DOTALL)
_WILD: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Exclusions:
    """Patterns for paths below one folder.

    A pattern without a slash matches a name at any depth; with a slash, a path below the folder; with one at its end,
    folders only. `*` and `?` stop at a slash, `**` does not.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raise Failure for a pattern that begins with `!`, which would include something again."""
        self._patterns = [_compiled(pattern) for pattern in patterns]

    def cover(self, name: str, *, is_folder: bool = False) -> bool:
        """Return whether the path, or a folder above it, is excluded."""
        parts = name.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        return self._match(name, is_folder) or any(self._match(folder, True) for folder in above)

    def _match(self, name: str, is_folder: bool) -> bool:
        return any(
            (is_folder or not folders_only) and pattern.fullmatch(name)
            for pattern, folders_only in self._patterns
        )


def patterns_of(folder: Path) -> list[str]:
    """Return the patterns of a folder's `.keysteadignore`; none without the file. Failure when it cannot be read."""
    file = folder / IGNORE_FILE
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Failure(f"{file} cannot be read: {why}.") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _compiled(pattern: str) -> tuple[re.Pattern[str], bool]:
    if pattern.startswith("!"):
        raise Failure(
            f"The pattern {pattern} can't begin with !: patterns only exclude.", Exit.USAGE
        )
    path = pattern.rstrip("/")
    anywhere = "" if "/" in path else "(?:.*/)?"
    return re.compile(anywhere + "".join(_parts(path.lstrip("/"))), re.DOTALL), pattern != path


def _parts(path: str) -> Iterator[str]:
    for part in _PART.findall(path):
        if part in _WILD:
            yield _WILD[part]
        elif len(part) > 1:
            # `(?s:[...])\Z`, also for ranges that end before they begin.
            translated = translate(part.replace("[^", "[!", 1))
            yield f"(?!/){translated.removeprefix('(?s:').rpartition(')')[0]}"
        else:
            yield re.escape(part)
