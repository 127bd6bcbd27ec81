"""The glossary and the domain use the same words."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import keystead.domain

GLOSSARY = Path(__file__).parents[2] / "docs" / "glossary.md"
ERRORS = "errors"


def entries() -> dict[str, str]:
    """Return each word of the glossary, with the rest of its entry."""
    items = re.findall(r"^- \*\*(.+?)\*\*: (.+(?:\n  .+)*)", GLOSSARY.read_text(), re.MULTILINE)
    return dict(items)


def names_in_the_glossary() -> set[str]:
    """Return every `module.Name` of the entries."""
    return {
        name for text in entries().values() for name in re.findall(r"`([a-z_]+\.[A-Z]\w+)`", text)
    }


def public_classes() -> set[str]:
    """Return every public class of the domain as `module.Name`, except the error tree."""
    classes = set()
    for module in pkgutil.iter_modules(keystead.domain.__path__):
        loaded = importlib.import_module(f"keystead.domain.{module.name}")
        for name, value in inspect.getmembers(loaded, inspect.isclass):
            if value.__module__ == loaded.__name__ and not name.startswith("_"):
                classes.add(f"{module.name}.{name}")
    return {name for name in classes if not name.startswith(f"{ERRORS}.")}


def test_every_name_of_the_glossary_is_in_the_domain() -> None:
    """What the entries name can be imported."""
    for name in names_in_the_glossary():
        module, attribute = name.split(".")
        assert hasattr(importlib.import_module(f"keystead.domain.{module}"), attribute), name


def test_every_class_of_the_domain_is_explained() -> None:
    """Every class of the domain is in the glossary."""
    assert public_classes() - names_in_the_glossary() == set()


def test_words_are_few_in_order_and_unique() -> None:
    """A reader finds a word by its place, and can remember them all: at most 45."""
    lines = [line for line in GLOSSARY.read_text().splitlines() if line.startswith("- ")]
    words = list(entries())
    assert len(words) == len(lines)
    assert 30 < len(words) <= 45
    assert words == sorted(words, key=str.casefold)
