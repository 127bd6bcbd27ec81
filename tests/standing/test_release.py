"""A release: the same bytes however often it is built, with everything that a server needs."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from scripts import release

ROOT = Path(__file__).parents[2]


@pytest.mark.prove  # `make release` compares its own two builds, and stops if they differ
def test_two_builds_are_the_same(tmp_path: Path) -> None:
    """Wheel and sdist of a commit, built in two folders, have the same hashes, and contain the revision and all pages.

    `make release` also tries both in clean environments.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("no repository here: a release is built from a commit")
    revision = release.run(["git", "rev-parse", "HEAD"]).strip()
    first, second = (release.build(revision, tmp_path / name) for name in ("one", "another"))
    assert release.digests(first) == release.digests(second)
    [wheel], [sdist] = first.glob("*.whl"), first.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as opened:
        assert opened.read("keystead/revision").decode().strip() == revision
        contained = set(opened.namelist())
    pages = {f"keystead/http/pages/{page.name}" for page in (ROOT / "docs/problems").glob("*.md")}
    assert {*pages, "keystead/py.typed"} <= contained
    assert not [name for name in contained if name.startswith(("tests/", "bench/"))]
    with tarfile.open(sdist) as opened_sdist:
        assert len({member.mtime for member in opened_sdist.getmembers()}) == 1


BUILDER = """#!/bin/sh
mkdir -p "$7" keystead-0.1.0
case $5 in
  sdist) tar --mtime=@0 -cf "$7/keystead-0.1.0.tar.gz" keystead-0.1.0 ;;
  wheel) : > "$7/keystead-0.1.0-py3-none-any.whl" ;;
esac
"""
"""Builds empty packages, called like hatchling."""


def test_a_release_that_fails_leaves_dist_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder keeps the release before until the new one has passed everything: here, it can't be installed."""
    if not (ROOT / ".git").exists():
        pytest.skip("no repository here: a release is built from a commit")
    dist, builder = tmp_path / "dist", tmp_path / "bin" / "python"
    dist.mkdir()
    builder.parent.mkdir()
    (dist / "SHA256SUMS").write_text("of the release before")
    builder.write_text(BUILDER)
    builder.chmod(0o755)
    monkeypatch.setattr(release, "DIST", dist)
    monkeypatch.setattr(release, "BIN", builder.parent)
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(SystemExit, match="false failed"):
        release.main()
    assert [file.name for file in dist.iterdir()] == ["SHA256SUMS"]
