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


def rows() -> list[list[str]]:
    """Return the cells of the glossary's rows."""
    lines = [line for line in GLOSSARY.read_text().splitlines() if line.startswith("| **")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named_in_the_glossary() -> set[str]:
    """Return every `module.Name` of its third column."""
    return {name for row in rows() for name in re.findall(r"`([a-z_]+\.\w+)`", row[2])}


def public_classes() -> set[str]:
    """Return every public class of the domain as `module.Name`, except the error tree."""
    found = set()
    for module in pkgutil.iter_modules(keystead.domain.__path__):
        loaded = importlib.import_module(f"keystead.domain.{module.name}")
        for name, value in inspect.getmembers(loaded, inspect.isclass):
            if value.__module__ == loaded.__name__ and not name.startswith("_"):
                found.add(f"{module.name}.{name}")
    return {name for name in found if not name.startswith(f"{ERRORS}.")}


def test_every_name_of_the_glossary_is_in_the_domain() -> None:
    """What the third column names can be imported."""
    for name in named_in_the_glossary():
        module, attribute = name.split(".")
        assert hasattr(importlib.import_module(f"keystead.domain.{module}"), attribute), name


def test_every_class_of_the_domain_is_explained() -> None:
    """Every class of the domain is in the glossary."""
    assert public_classes() - named_in_the_glossary() == set()


def test_words_are_in_order_and_stand_once() -> None:
    """Words are sorted and unique, so a reader finds a word by its place."""
    words = [row[0].strip("*") for row in rows()]
    assert len(words) > 30
    assert words == sorted(set(words), key=str.casefold)
