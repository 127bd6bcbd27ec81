"""From a bare python3 to a working environment: an error is one line, and leaves nothing half done."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "bootstrap.py"
PRETEND_OLD = """
import runpy, shutil, sys
sys.version_info = (3, 8, 0)
shutil.which = lambda name: None
sys.argv = ["bootstrap.py", "server"]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.fixture
def copy_of_the_project(tmp_path: Path) -> Path:
    """Create a folder with all that bootstrap reads, whose locks ask for an unavailable package."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "requirements").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for kind in ("server", "dev", "uv"):
        missing = f"nothing-of-{kind}==1 --hash=sha256:{'0' * 64}\n"
        (tmp_path / "requirements" / f"{kind}.lock").write_text(missing)
    return tmp_path


def bootstrap(project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the project's bootstrap with no package index, only its own folder of wheels."""
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(project), "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run(
        [sys.executable, "-I", project / "scripts" / "bootstrap.py", "server"],
        env=os.environ | offline | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def make_wheel(folder: Path) -> str:
    """Build a wheel of a package `planted`, version 1; return its SHA-256."""
    wheel = folder / "planted-1-py3-none-any.whl"
    info = "planted-1.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("planted.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: planted\nVersion: 1\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.mark.slow
def test_an_old_python_without_a_newer_one_gets_one_clear_line() -> None:
    """Under Python 3.8 with nothing newer, bootstrap names the version it needs and exits with 1."""
    done = subprocess.run(
        [sys.executable, "-c", PRETEND_OLD.format(script=str(SCRIPT))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"bootstrap: error: Keystead needs Python 3.11 or newer; this is {sys.version.split()[0]}"
    ]


@pytest.mark.slow
def test_old_pythons_can_read_bootstrap() -> None:
    """No syntax newer than Python 3.7, or an old one would end in a SyntaxError instead of that line."""
    ast.parse(SCRIPT.read_text(), feature_version=(3, 7))


@pytest.mark.slow
@pytest.mark.parametrize("script", ["bootstrap.py", "lock.py"])
def test_scripts_need_nothing_installed(script: str) -> None:
    """What runs before anything is installed imports only the standard library."""
    tree = ast.parse((ROOT / "scripts" / script).read_text())
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert imported - sys.stdlib_module_names == set()


@pytest.mark.slow
def test_only_what_the_lock_names_and_hashes_is_installed(copy_of_the_project: Path) -> None:
    """An unavailable package, and a wheel with other bytes, end in one clear line; the genuine one installs."""
    digest = make_wheel(copy_of_the_project)
    lock = copy_of_the_project / "requirements" / "server.lock"
    lock.write_text(f"nowhere==1 --hash=sha256:{digest}\n")
    absent = bootstrap(copy_of_the_project)
    lock.write_text(f"planted==1 --hash=sha256:{'0' * 64}\n")
    tampered = bootstrap(copy_of_the_project)
    assert installed(copy_of_the_project) == []
    lock.write_text(f"planted==1 --hash=sha256:{digest}\n")
    bootstrap(copy_of_the_project)
    assert len(installed(copy_of_the_project)) == 1
    assert "nowhere==1" in the_error(absent)
    assert "PIP_INDEX_URL" in the_error(absent)
    assert "DO NOT MATCH THE HASHES" in the_error(tampered)


def installed(project: Path) -> list[Path]:
    """Return the installed package's path, and check that the environment is not marked as complete."""
    assert not (project / ".venv" / "keystead-stamp").exists()
    return list(project.glob(".venv/lib/*/site-packages/planted.py"))


def the_error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that says what went wrong."""
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("bootstrap: error: ")]
    return line


@pytest.mark.slow
def test_an_environment_that_is_up_to_date_is_left_alone(copy_of_the_project: Path) -> None:
    """An environment marked with this lock, Python and place needs nothing and prints nothing."""
    fingerprint = fingerprint_of(copy_of_the_project)
    (copy_of_the_project / ".venv" / "bin").mkdir(parents=True)
    (copy_of_the_project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (copy_of_the_project / ".venv" / "keystead-stamp").write_text(f"dev {fingerprint}\n")
    done = bootstrap(copy_of_the_project)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["requirements/dev.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_makes_the_mark_stale(
    copy_of_the_project: Path, file: str
) -> None:
    """The mark covers the lock and pyproject.toml: another byte in either means to install again."""
    before = fingerprint_of(copy_of_the_project)
    with (copy_of_the_project / file).open("a") as changed:
        changed.write("# changed\n")
    assert fingerprint_of(copy_of_the_project) != before


def fingerprint_of(project: Path) -> str:
    """Return the mark of an environment for the tests."""
    done = subprocess.run(
        [sys.executable, "-c", "import bootstrap; print(bootstrap.fingerprint('dev'))"],
        cwd=project / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
