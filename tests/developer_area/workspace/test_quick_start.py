"""Quick start: code that works unchanged, in every language, against a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from keystead.bootstrap import open_safely
from keystead.developer_area.workspace.code_samples import CodeSamples
from keystead.domain.documents import CollectionDraft
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import system
from keystead.domain.product import OURS, Product
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area
from tests.support.server_process import ServerProcess

LANGUAGES = ("curl", "python", "javascript", "cli")


def test_lines_use_the_workspaces_own_names(area: Area) -> None:
    """Without a collection the code creates one; with one it pushes to it, at this server's URL."""
    browser, url = area.signed_in(), f"/w/{area.workspace_id}/quick-start"
    seen = browser.open(url)
    assert "These lines create docs and push to it" in seen.tree.text
    assert "https://keys.example/v1/collections/docs/documents/batch" in seen.tree.text
    area.services.documents.create_collection(area.principal, CollectionDraft("answers"))
    again = browser.open(url)
    assert "https://keys.example/v1/collections/answers/documents/batch" in again.tree.text
    assert "create_collection" not in again.tree.text
    assert browser.open(again.link("answers")).heading == "answers"


def test_the_steps_lead_on(area: Area) -> None:
    """Members who may create keys find the link; a viewer reads who can."""
    url = f"/w/{area.workspace_id}/quick-start"
    browser = area.signed_in()
    assert browser.open(browser.open(url).link("Create key")).heading == "Create an API key"
    viewer = area.signed_in(area.member(Role.VIEWER)).open(url)
    assert "Ask an admin of this workspace to create one for you." in viewer.tree.text
    assert not [a for a in viewer.tree.all("a") if a.text == "Create key"]


def test_languages_are_chosen_without_scripts(area: Area) -> None:
    """Each code sample is a labelled group of radio buttons, with the first one selected."""
    seen = area.signed_in().open(f"/w/{area.workspace_id}/quick-start")
    for group in ("push", "query"):
        radios = seen.tree.all("input", name=f"{group}-language")
        assert [r.attributes["type"] for r in radios] == ["radio"] * 4
        assert [("checked" in r.attributes) for r in radios] == [True, False, False, False]
        labels = [seen.tree.one("label", for_=r.attributes["id"]).text for r in radios]
        assert labels == ["curl", "Python", "JavaScript", "CLI"]


def run(language: str, code: str, folder: Path, token: str) -> str:
    """Run the code unchanged and return what it prints."""
    programs = {
        "curl": ["bash", "-euc", code],
        "cli": ["bash", "-euc", code],
        "python": [sys.executable, "-c", code],
        "javascript": ["node", "--input-type=module", "-e", code],
    }
    command = programs[language]
    if shutil.which(command[0]) is None or (language == "curl" and shutil.which("curl") is None):
        pytest.skip(f"no {command[0]} here")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "KEYSTEAD_TOKEN": token, "ACME_TOKEN": token, "HOME": str(folder)}
    process = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize(
    ("database_url", "language", "product"),
    [
        *(("sqlite", each, OURS) for each in LANGUAGES),
        ("sqlite", "python", Product("Acme")),
        ("postgresql", "curl", OURS),
    ],
    indirect=["database_url"],
)
def test_lines_work_as_they_stand(
    server: ServerProcess, tmp_path: Path, language: str, product: Product
) -> None:
    """In each language the code creates the collection, pushes, pushes again without harm, and searches."""
    installation = open_safely(server.settings)
    try:
        owner = installation.services.workspaces.first()
        workspace = system(owner.workspace_id)
        token = installation.services.keys.create(workspace, KeyDraft("lines")).token
        assert token is not None
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "hello.md").write_text("# Hello\n\nHello from our first document.\n")
        output, samples = "", CodeSamples(server.base_url, product)
        for lines in (
            samples.push("docs", create=True),
            samples.push("docs"),
            samples.search("docs"),
        ):
            (code,) = [tab.code for tab in lines if tab.id == language]
            output = run(language, code, tmp_path, token.reveal())
        assert "Hello" in output
        assert installation.services.documents.get_collection(workspace, "docs").documents == 1
    finally:
        installation.close()
