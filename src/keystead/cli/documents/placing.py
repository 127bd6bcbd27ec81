"""The files of pulled documents. Paths are strangers' text: one that some system could misread gets no file."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Final

from keystead.client import Document, DocumentDraft
from keystead.client.folders.files import Shaping, draft_of
from keystead.client.folders.found import MARKDOWN, TEXT, Found

LINES_FILE: Final = "documents.jsonl"
"""The file of all documents that no file of their own can hold exactly."""
MOST_FOLDERS: Final = 20
LONGEST_NAME: Final = 200
"""Bytes of a file's or folder's name: systems allow 255."""

_UNFIT: Final = re.compile(r'[<>:"|?*\\]')
_RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])")
"""Devices on Windows, whatever follows after a dot."""


class Placement:
    """Gives documents their files. Two paths that some system takes for one never both get a file."""

    def __init__(self, shaping: Shaping) -> None:
        """`shaping`: how a push makes documents of files."""
        self._shaping = shaping
        self._files = {_folded(LINES_FILE)}
        self._folders: dict[str, str] = {}

    def path_of(self, document: Document) -> str | None:
        """Return the path of the file from which a push makes exactly this document; None without one."""
        path = document.attributes.get("path")
        if not isinstance(path, str) or not is_safe(path) or not self._is_exact(path, document):
            return None
        return path if self._claim(path) else None

    def _is_exact(self, path: str, document: Document) -> bool:
        file = Found(Path(path), path, 0)
        if file.path.suffix.lower() not in MARKDOWN | TEXT or document.text.startswith("\ufeff"):
            return False
        expected = DocumentDraft(
            document.id, document.text, document.title, document.url, document.attributes
        )
        return draft_of(file, document.text, self._shaping) == expected

    def _claim(self, path: str) -> bool:
        """Return whether the path is free, in any letters; it is taken from then on."""
        folded, parts = _folded(path), path.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        is_free = folded not in self._files and folded not in self._folders
        for folder in above:
            spelled = self._folders.get(_folded(folder), folder)
            is_free = is_free and spelled == folder and _folded(folder) not in self._files
        if is_free:
            self._files.add(folded)
            self._folders |= {_folded(folder): folder for folder in above}
        return is_free


def is_safe(path: str) -> bool:
    """Return whether a relative path means the same file below a folder on every system, and a push would find it."""
    parts = path.split("/")
    return len(parts) <= MOST_FOLDERS and all(map(_is_safe_name, parts))


def _is_safe_name(name: str) -> bool:
    if not name or name[0] in ". " or name[-1] in ". " or _UNFIT.search(name):
        return False
    # Controls, invisible characters, half surrogates; and below, names that a file system would store differently.
    if any(unicodedata.category(character)[0] in "CZ" for character in name if character != " "):
        return False
    if unicodedata.normalize("NFC", name) != name or len(name.encode()) > LONGEST_NAME:
        return False
    return _RESERVED.fullmatch(name.partition(".")[0].rstrip(" ")) is None


def _folded(path: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
