"""The base as pip installs it: a folder with Keystead, httpx2 and what that requires, which Python sees alone."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[2]
NO_EXTRA: Final = {"extra": ""}


def required_by(package: str) -> set[str]:
    """Return the names of the packages that a package requires here, all the way down, itself included."""
    names: set[str] = set()
    waiting = [package]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            needed = map(Requirement, distribution(name).requires or ())
            waiting += [it.name for it in needed if not it.marker or it.marker.evaluate(NO_EXTRA)]
    return names


def link_packages(folder: Path, packages: set[str]) -> Path:
    """Link the files of installed packages into a folder, as pip would copy them."""
    for package in packages:
        for file in distribution(package).files or ():
            top = file.parts[0]
            if top != ".." and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution(package).locate_file(top))))
    return folder


def base_folder(folder: Path) -> Path:
    """Fill an empty folder with the base, by links. Returns it."""
    (folder / "keystead").symlink_to(ROOT / "src" / "keystead")
    return link_packages(folder, required_by("httpx2"))


def python(
    base: Path, program: str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program that finds only the base and the standard library."""
    return subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(base)!r})\n{program}",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], **environment},
    )
