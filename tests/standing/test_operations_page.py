"""The page for operators lists exactly the existing settings and metrics."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from keystead.operation.metrics.definitions import DEFINITIONS
from keystead.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
DEPLOY = (ROOT / "docs" / "guides" / "deploy.md").read_text()


def section(title: str) -> str:
    """Return the text under a heading of the second level."""
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(title: str) -> set[str]:
    """Return the code spans in the first column of that section's table."""
    rows = [line for line in section(title).splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_every_setting_is_on_the_page() -> None:
    """The table of settings is the list of settings."""
    assert first_cells("Settings") == set(Settings.model_fields)


def test_defaults_on_the_page_are_the_defaults() -> None:
    """If the table gives a value, it is the default."""
    for name, default in re.findall(r"\| `(\w+)` \| `([^`]+)` \|", section("Settings")):
        assert str(Settings.model_fields[name].default) == default


def test_every_metric_is_on_the_page_with_its_labels() -> None:
    """The table of metrics has the names and labels of the listener."""
    rows = [row.split("|")[1:3] for row in section("Metrics").splitlines() if row.startswith("| `")]
    documented = {
        name: set(re.findall(r"`(\w+)`", labels))
        for names, labels in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    assert documented == {each.name: set(each.labels) for each in DEFINITIONS}


def block(language: str, number: int = 0) -> str:
    """Return the n-th block of code in that language on the page about deployment."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", DEPLOY, re.MULTILINE | re.DOTALL)
    return blocks[number]


def test_the_settings_file_of_the_guide_is_one() -> None:
    """The file loads, and is safe to start with."""
    assert Settings(**tomllib.loads(block("toml"))).metrics_port == 9464


@pytest.mark.parametrize("page", [PAGE, DEPLOY], ids=["operations", "deploy"])
def test_names_in_the_environment_are_settings(page: str) -> None:
    """Every KEYSTEAD_ name on the pages is a setting."""
    names = set(re.findall(r"KEYSTEAD_([A-Z_]+[A-Z])", page))
    assert {name.lower() for name in names} <= set(Settings.model_fields)
