"""Pulling documents into a folder: a push of it changes nothing, and nothing is written anywhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.cli.documents.placing import LINES_FILE, Placement, is_safe
from keystead.cli.documents.writing import TargetFolder, Unwritable
from keystead.cli.outcome import Exit
from keystead.client import Document
from keystead.client.folders.files import Shaping, id_of
from tests.cli.conftest import Keystead
from tests.support.clocks import NOON
from tests.support.server_process import ServerProcess, serving

HOSTILE = [
    *("../up.md", "/etc/up.md", "a/../../up.md", "./a.md", "a//b.md", "a/", "", ".", ".."),
    *("..\\up.md", "C:\\up.md", "C:up.md", "a/b:c.md", "nul.md", "COM1.txt", "aux", "lpt9.x.md"),
    *(".hidden.md", "a/.git/hooks.md", "end.", "end.md ", " start.md", "a /b.md", "tab\t.md"),
    *("\u202egpj.md", "null\0.md", "line\n.md", "e\u0301.md", "\udce9.md", "x" * 201 + ".md"),
    *("/".join(["deep"] * 21) + ".md", "what?.md", "star*.md", "con.md", "conin$.md"),
]


def from_file(path: str, text: str = "text", title: str = "") -> Document:
    """Return the document that a push makes of a file without headings."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    attributes: dict[str, Any] = {"path": path}
    return Document(
        id=id_of(path) if path else "none",
        title=title or stem,
        url=None,
        attributes=attributes,
        created_at=NOON,
        updated_at=NOON,
        text=text,
    )


@pytest.mark.parametrize("path", HOSTILE)
def test_a_strange_path_is_no_file(path: str) -> None:
    """Paths that lead out, are devices, or are read differently somewhere: such a document becomes a line."""
    assert not is_safe(path)
    assert Placement(Shaping()).path_of(from_file(path)) is None


def test_names_that_some_systems_take_for_one_get_one_file() -> None:
    """Letters of another case or width, a folder spelled in two ways, a file named like a folder."""
    placement = Placement(Shaping())
    paths = ["Guides/a.md", "A.md", "a.MD", "guides/b.md", "Guides/b.md", "Guides/A.md"]
    paths += ["x.md", "x.md/y.md", "folder.md/y.md", "folder.md", f"{LINES_FILE}/a.md", "ß.md"]
    paths += ["SS.md", "ﬁ.md", "fi.md"]
    given_files = [placement.path_of(from_file(path)) for path in paths]
    assert [path for path in given_files if path] == [
        *("Guides/a.md", "A.md", "Guides/b.md", "x.md", "folder.md/y.md", "ß.md", "ﬁ.md")
    ]


def test_only_what_a_file_holds_exactly_becomes_one() -> None:
    """Another id, title, URL or attribute, a mark at the beginning, or another kind of file: a line instead."""
    plain = from_file("a.md")
    assert Placement(Shaping()).path_of(plain) == "a.md"
    changes: list[dict[str, Any]] = [
        {"id": "b"},
        {"title": "Other"},
        {"url": "https://example.com/a.md"},
        {"attributes": {"path": "a.md", "n": 1}},
        {"attributes": {"path": 1}},
        {"attributes": {}},
        {"text": "\ufefftext"},
        {"text": "# A heading"},
    ]
    for changed in changes:
        members = {name: getattr(plain, name) for name in plain.__dataclass_fields__} | changed
        assert Placement(Shaping()).path_of(Document(**members)) is None, changed
    assert Placement(Shaping()).path_of(from_file("a.jsonl")) is None
    linked = Document(
        **{n: getattr(plain, n) for n in plain.__dataclass_fields__}
        | {"url": "https://docs.example/a.md"}
    )
    assert Placement(Shaping("https://docs.example")).path_of(linked) == "a.md"


@given(st.text(max_size=40))
def test_no_path_leads_out(path: str) -> None:
    """Whatever a path is, a safe one stays below its folder, and no name in it leads upwards."""
    if is_safe(path):
        joined = os.path.normpath(f"/folder/{path}")
        assert joined == f"/folder/{path}"


def test_nothing_is_written_through_links(tmp_path: Path) -> None:
    """A link in the folder, to a file or to a folder, is refused; what it leads to stays as it was."""
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (outside / "kept.md").write_text("kept")
    (target / "folder").symlink_to(outside)
    (target / "file.md").symlink_to(outside / "kept.md")
    (target / "full.md").mkdir()
    (target / "taken").write_text("a file")
    os.mkfifo(target / "pipe.md")
    with TargetFolder(target, overwrite=True) as folder:
        for path in ("folder/new.md", "file.md", "full.md", "taken/x.md", "pipe.md"):
            with pytest.raises(Unwritable):
                folder.put(path, b"new")
        folder.put("a/b/new.md", b"new")
    assert sorted(path.name for path in outside.iterdir()) == ["kept.md"]
    assert (outside / "kept.md").read_text() == "kept"
    assert (target / "a/b/new.md").read_text() == "new"
    assert not list(target.rglob(".keystead-*"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for all of these tests."""
    folder = tmp_path_factory.mktemp("pull")
    folder.chmod(0o700)
    with serving(f"sqlite:///{folder / 'keystead.db'}") as started:
        yield started


@pytest.fixture
def keystead(run: Keystead, server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> Keystead:
    """A runner of commands that call the server with the token of a new key."""
    monkeypatch.setenv("KEYSTEAD_URL", server.base_url)
    monkeypatch.setenv("KEYSTEAD_TOKEN", server.token())
    return run


def test_pull_then_push_changes_nothing(
    keystead: Keystead, server: ServerProcess, tmp_path: Path
) -> None:
    """Documents of files and of strangers come back as they were; a file that differs is kept without --overwrite."""
    pages = tmp_path / "pages"
    (pages / "guides").mkdir(parents=True)
    (pages / "guides/deploy.md").write_bytes(
        b"---\ntags: [a, b]\n---\n# Deploy\r\nBehind a gateway."
    )
    (pages / "notes.txt").write_text("plain ünicode")
    strangers = [
        {"id": "up", "text": "x", "attributes": {"path": "../../up.md"}},
        {
            "id": "faq",
            "text": "Questions\u2028and answers",
            "title": "FAQ",
            "url": "https://x.example/",
        },
        {
            "id": "Notes.TXT",
            "text": "",
            "title": "Notes",
            "attributes": {"path": "Notes.TXT", "n": 1.5},
        },
        {"id": "NOTES.txt", "text": "", "title": "NOTES", "attributes": {"path": "NOTES.txt"}},
    ]
    lines = tmp_path / "strangers.jsonl"
    lines.write_text("\n".join(map(json.dumps, strangers)))
    push = ("documents", "push", str(pages), str(lines), "-c", "round", "--create-collection")
    assert keystead(*push).code == Exit.DONE

    copy = tmp_path / "copy"
    pull = ("documents", "pull", str(copy), "-c", "round")
    pulled = keystead(*pull)
    assert (pulled.code, pulled.out) == (
        Exit.DONE,
        "round: 6 documents; files: 3 written, 0 unchanged.\n",
    ), pulled.err
    found = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file())
    assert found in (
        ["NOTES.txt", "documents.jsonl", "guides/deploy.md"],
        ["documents.jsonl", "guides/deploy.md", "notes.txt"],
    )
    again = keystead("documents", "push", str(copy), "-c", "round", "--delete-missing", "--yes")
    assert again.out == "round: 0 created, 0 updated, 6 unchanged.\n"

    assert keystead(*pull).out == "round: 6 documents; files: 0 written, 3 unchanged.\n"
    (copy / "guides/deploy.md").write_text("mine")
    kept = keystead(*pull, "--json")
    assert (kept.code, kept.json["refused"][0]["source"]) == (Exit.REFUSED, "guides/deploy.md")
    assert (copy / "guides/deploy.md").read_text() == "mine"
    assert "--overwrite" in keystead(*pull).err
    assert keystead(*pull, "--overwrite").code == Exit.DONE
    assert (copy / "guides/deploy.md").read_bytes() == (pages / "guides/deploy.md").read_bytes()
    assert not list(tmp_path.parent.glob("up.md"))

    for id in ("up", "faq", "Notes.TXT", "NOTES.txt"):
        assert keystead("documents", "delete", id, "-c", "round", "--yes").code == Exit.DONE
    stale = keystead(*pull, "--json")
    assert [each["source"] for each in stale.json["refused"]] == [LINES_FILE]
    assert keystead(*pull, "--overwrite").code == Exit.DONE
    assert (copy / LINES_FILE).read_bytes() == b""


def test_documents_are_listed_shown_and_deleted(
    keystead: Keystead, server: ServerProcess, tmp_path: Path
) -> None:
    """In tables and JSON, page by page; deleting needs a confirmation, and an unknown id is refused."""
    lines = tmp_path / "three.jsonl"
    documents = [{"id": f"d{number}", "text": f"word\x1b{number}"} for number in range(3)]
    lines.write_text("\n".join(map(json.dumps, documents)))
    assert keystead("documents", "push", str(lines), "-c", "three", "--create-collection").code == 0
    of = ("-c", "three")
    first = keystead("documents", "list", *of, "--limit", "2", "--json").json
    rest = keystead("documents", "list", *of, "--cursor", first["next_cursor"], "--json").json
    assert [item["id"] for item in [*first["items"], *rest["items"]]] == ["d2", "d1", "d0"]
    assert keystead("documents", "list", *of).out.splitlines()[1].startswith("d2 ")
    shown = keystead("documents", "show", "d1", *of)
    assert shown.out.splitlines()[-1] == "word\\x1b1"
    assert keystead("documents", "show", "d1", *of, "--json").json["text"] == "word\x1b1"
    assert keystead("documents", "delete", "d1", *of).code == Exit.USAGE
    assert keystead("documents", "delete", "d1", *of, "--yes").err == "Deleted d1 of three.\n"
    for command in (("show", "d1"), ("delete", "d1", "--yes")):
        assert keystead("documents", *command, *of).code == Exit.REFUSED
    found = keystead("documents", "search", *of, "word")
    assert "Showing 2 of 2 documents with all of these words." in found.err
    page = keystead("documents", "search", *of, "word", "--limit", "1", "--json").json
    assert (page["total"], page["total_exact"], len(page["items"])) == (2, True, 1)
    more = ("--limit", "1", "--cursor", page["next_cursor"], "--json")
    assert keystead("documents", "search", *of, "word", *more).json["items"] != page["items"]
    assert "quotes, operators" in keystead("documents", "search", *of, '"word" OR nothing').err
