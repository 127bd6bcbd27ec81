"""`pip install keystead` is the SDK, webhook verification, the integrations and the helpers for tests; no server."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

from keystead import VERSION_FLAGS, version
from tests.support.light_base import base_folder, link_packages, python, required_by

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FRAMEWORKS: Final = {"starlette", "fastapi", "flask", "django", "rest_framework"}
SERVER_ONLY: Final = {"integrations/in_process.py"}
"""What an application that opens a database itself needs, from the extra `server`."""


def modules_of_the_base() -> list[str]:
    """Return the modules that work without any extra."""
    source = ROOT / "src"
    files = [source / "keystead" / f"{name}.py" for name in ("__init__", "__main__", "extras")]
    for package in ("client", "integrations", "testing"):
        files += sorted((source / "keystead" / package).rglob("*.py"))
    return [
        ".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if str(file.relative_to(source / "keystead")) not in SERVER_ONLY
        and not (file.parent.name == "integrations" and file.stem in FRAMEWORKS)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base alone, in a folder."""
    return base_folder(tmp_path_factory.mktemp("base"))


def test_every_module_of_the_base_imports_with_httpx2_alone(base: Path) -> None:
    """All are imported in one process that has no package of a server; nothing of one is imported either."""
    program = (
        "import importlib, json\n"
        "for name in json.loads(sys.argv[1]): importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    modules = modules_of_the_base()
    assert {"keystead.client.receiving", "keystead.testing.embedded"} <= set(modules)
    done = python(base, program, json.dumps(modules))
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert set(modules) <= loaded
    assert not [name for name in loaded if name.startswith(("keystead.storage", "keystead.wire"))]


def test_the_console_script_names_what_to_install(base: Path) -> None:
    """Without the extra, `keystead` prints its version, or one line that says how to install it, and exits with 78."""
    for flag in VERSION_FLAGS:
        shown = python(base, "import keystead.__main__; keystead.__main__.main()", flag)
        assert (shown.returncode, shown.stdout) == (0, f"{version()}\n"), shown.stderr
    done = python(base, "import keystead.__main__; keystead.__main__.main()", "keys", "list")
    assert done.returncode == 78
    [line] = done.stderr.splitlines()
    assert line.endswith("Install it with: pip install 'keystead[cli]'")


def test_a_command_of_the_server_names_what_to_install(base: Path, tmp_path: Path) -> None:
    """With the extra `cli` alone, `keystead serve` asks for the extra `server`, and `--version` works."""
    folder = tmp_path / "cli"
    folder.mkdir()
    link_packages(folder, required_by("cyclopts") | required_by("rich"))
    program = (
        f"sys.path.append({str(folder)!r}); import keystead.__main__; keystead.__main__.main()"
    )
    version = python(base, program, "--version")
    assert version.returncode == 0, version.stderr
    serve = python(base, program, "serve", "--data", str(tmp_path / "data"))
    assert serve.returncode == 78, serve.stderr
    assert serve.stderr.rstrip().endswith("pip install 'keystead[server]'")


@pytest.mark.parametrize(
    "program",
    [
        "from keystead.integrations import connect; connect('sqlite:////nowhere/keystead.db')",
        "import pathlib; from keystead.testing.embedded import prepared; prepared(pathlib.Path('/nowhere'))",
    ],
    ids=["connect", "embedded"],
)
def test_a_database_in_process_names_what_to_install(base: Path, program: str) -> None:
    """The error of a guard over a database says which extra it needs."""
    done = python(base, program)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("pip install 'keystead[server]'")


def test_the_base_requires_httpx2_alone_and_nothing_is_bounded_above() -> None:
    """One dependency; it and the extras of applications are `>=`, so that they don't decide what else is installed."""
    assert [re.split(r"[><=~]", each)[0] for each in PROJECT["dependencies"]] == ["httpx2"]
    extras = PROJECT["optional-dependencies"]
    assert set(extras) == {"cli", "django", "drf", "fastapi", "flask", "server"}
    wide = [*PROJECT["dependencies"]]
    for name in extras.keys() - {"server"}:
        wide += extras[name]
    assert [each for each in wide if not re.fullmatch(r"[a-z0-9]+>=[\d.]+", each)] == []
