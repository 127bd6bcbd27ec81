"""The layers that `make check` guards are all layers, and the guards check every module."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "keystead"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS: dict[str, Any] = {
    contract["id"]: contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
}


def imported_by(path: Path) -> set[str]:
    """Return the top-level names that a module imports, at any place in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", sorted((SOURCE / "domain").rglob("*.py")), ids=lambda p: p.stem)
def test_the_domain_needs_nothing_but_python(path: Path) -> None:
    """A rule of the domain imports only the standard library and the domain."""
    assert imported_by(path) - sys.stdlib_module_names - {"keystead"} == set()


@pytest.mark.parametrize(
    ("contract", "allowed"), [("pure-domain", set()), ("light-base", {"httpx2"})]
)
def test_the_contracts_name_every_dependency(contract: str, allowed: set[str]) -> None:
    """Contract 2 forbids the domain each package of the server, by its import name, and 8 the base all but httpx2."""
    forbidden = set(CONTRACTS[contract]["forbidden_modules"]) | allowed
    dependencies = {
        match[0].lower().replace("_", "-")
        for line in PYPROJECT["project"]["optional-dependencies"]["server"]
        if (match := re.match(r"[A-Za-z0-9-]+", line))
    }
    imported_as = {
        module
        for module, distributions in packages_distributions().items()
        if not module.startswith("_")
        and dependencies & {name.lower().replace("_", "-") for name in distributions}
    }
    assert {"starlette", "sqlalchemy", "psycopg"} <= imported_as
    assert imported_as - forbidden == {"multipart"} & imported_as


def test_every_package_has_its_layer() -> None:
    """Each package of Keystead is one of the layers of contract 1, except settings."""
    layered = set(re.findall(r"\((\w+)\)", " ".join(CONTRACTS["layers"]["layers"])))
    there = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert there - layered == there & {"__init__", "__main__", "__pycache__", "settings"}


def shared_test_modules(path: Path) -> list[str]:
    """Return the test modules from which a file imports."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [
        name
        for name in names
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))
    ]


def test_no_test_imports_from_a_test() -> None:
    """What several test modules share is in `tests/support/` or a conftest, so that each can change on its own."""
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    imports = {
        str(path.relative_to(ROOT)): modules
        for path in files
        if (modules := shared_test_modules(path))
    }
    assert imports == {}


# --- the modules that open a transaction that writes ---

WRITES = {
    "services/authorization.py",
    "services/cleanup.py",  # a workspace's count of keys, which no principal changes
    "services/idempotency.py",
}
WRITES_ACROSS = {
    "services/accounts.py": "people, by the session whose secret acts",
    "services/authorization.py": "the installation, by its operator",
    "services/confirmations.py": "people, by the link that was mailed; the worker's letters",
    "services/device_logins.py": "a terminal by its secret code, and the person who decides about it",
    "services/deliveries.py": "the worker's leases and attempts",
    "services/notifications.py": "the worker's leases",
    "services/events.py": "how far the log of the installation's events has come",
    "services/feed.py": "the positions of events in the feed",
    "services/invitations.py": "accepting: the link is the proof, the workspace's lock is held",
    "services/key_disuse.py": "how far the worker has come",
    "services/key_lifecycle.py": "how far the worker has come",
    "services/reauthentication.py": "what a password proves, and failures",
    "services/restoration.py": "a restored backup, by the command line",
    "services/cleanup.py": "the worker's sweep",
    "services/deletion.py": "the purge of deleted workspaces",
    "services/sign_in.py": "people, by the link, the password or the session that acts",
    "services/throttle.py": "counts of attempts",
    "services/usage.py": "what keys were used for",
    "storage/maintenance/migrate.py": "the schema, by its owner",
    "storage/row_security/apply.py": "grants, by the schema's owner",
}
"""Modules that open a change of no single workspace, each with the principal that makes it."""


def calls_of(method: str) -> set[str]:
    """Return the modules that call a method of that name on a database."""
    return {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and ast.unparse(node.func.value).endswith("database")
    }


def test_changes_are_opened_in_one_place() -> None:
    """Only `changing`, which re-reads the principal, and idempotency open a workspace's change (R103)."""
    assert calls_of("write") == WRITES


def test_modules_that_write_across_workspaces_are_listed() -> None:
    """A module that opens a change of no single workspace is in the list."""
    assert calls_of("write_across") == WRITES_ACROSS.keys()
