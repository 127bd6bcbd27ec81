"""Files as documents: which are found, what each becomes, and that none is skipped silently."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from keystead.client import InvalidValue
from keystead.client.folders.files import LONGEST_LINE, Ready, Shaping, read_documents
from keystead.client.folders.folder_push import BATCH_BYTES, batches, unrepeated
from keystead.client.folders.found import RefusedFile, find_files
from keystead.client.requests import document_body
from keystead.domain.documents import MAX_TEXT_BYTES, DocumentDraft

PLAIN = Shaping()


def read(
    *paths: Path, shaping: Shaping = PLAIN
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the documents of these paths by ID, and the refusals by source."""
    files, refused = find_files(paths), list[RefusedFile]()
    documents = (document for file in files.files for document in read_documents(file, shaping))
    ready = list(unrepeated(documents, {}, refused.append))
    bodies = {document.id: json.loads(document_body(document.draft)) for document in ready}
    return bodies, {document.source: document.detail for document in [*files.refused, *refused]}


def write(file: Path, content: str | bytes) -> Path:
    """Write a file with that content."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_a_folder_is_its_files_of_known_kinds(tmp_path: Path) -> None:
    """Markdown, text and JSON lines at any depth; hidden files are skipped, others counted."""
    write(tmp_path / "README.md", "# Read me\nfirst")
    write(tmp_path / "guides/deploy.MD", "# Deploy")
    write(tmp_path / "notes.txt", "# no heading")
    write(
        tmp_path / "more.jsonl", '{"id": "a", "text": "x", "title": "A"}\n\n{"id": "b", "text": ""}'
    )
    write(tmp_path / ".git/x.md", "hidden")
    write(tmp_path / ".hidden.md", "hidden")
    write(tmp_path / "picture.png", b"\x89PNG")
    documents, refused = read(tmp_path)
    assert set(documents) == {"README.md", "guides--deploy.MD", "notes.txt", "a", "b"}
    assert refused == {}
    assert find_files([tmp_path]).others == 1
    assert documents["README.md"] == {
        "id": "README.md",
        "text": "# Read me\nfirst",
        "title": "Read me",
        "url": None,
        "attributes": {"path": "README.md"},
    }
    assert documents["guides--deploy.MD"]["attributes"] == {"path": "guides/deploy.MD"}
    assert documents["notes.txt"]["title"] == "notes"


def test_a_file_by_name_and_its_folder_give_the_same_id(tmp_path: Path) -> None:
    """Below a root every path has one ID, however it was named; a path elsewhere is wrong usage."""
    file = write(tmp_path / "docs/guides/cli.md", "# CLI")
    assert set(read(file)[0]) == {"cli.md"}
    for path in (file, file.parent, tmp_path / "docs", tmp_path / "docs/guides/../guides/cli.md"):
        files = find_files([path], root=tmp_path / "docs")
        assert [item.name for item in files.files] == ["guides/cli.md"]
    with pytest.raises(InvalidValue, match="not below"):
        find_files([file], root=tmp_path / "elsewhere")


EXCLUDED = {
    "draft.md": ["draft.md", "sub/draft.md", "sub/deep/draft.md"],
    "/draft.md": ["draft.md"],
    "sub/draft.md": ["sub/draft.md"],
    "*raft.m?": ["draft.md", "sub/draft.md", "sub/deep/draft.md"],
    "deep": ["sub/deep/draft.md", "sub/deep/own.md"],
    "deep/": ["sub/deep/draft.md", "sub/deep/own.md"],
    "own.md/": [],
    "sub/**": ["sub/deep/draft.md", "sub/deep/own.md", "sub/draft.md"],
    "sub/*.md": ["sub/draft.md"],
    "**/own.md": ["own.md", "sub/deep/own.md"],
    "sub/**/own.md": ["sub/deep/own.md"],
    "[!o]*.md": ["draft.md", "sub/draft.md", "sub/deep/draft.md"],
    "[de]raft.md": ["draft.md", "sub/draft.md", "sub/deep/draft.md"],
    "draft.m": [],
    "DRAFT.md": [],
    "[": [],
    "[]": [],
    "[z-a]*.md": [],
    "[^o]*.md": ["draft.md", "sub/draft.md", "sub/deep/draft.md"],
    "[a-de--]raft.md": ["draft.md", "sub/draft.md", "sub/deep/draft.md"],
    "[]d]raft.md": ["draft.md", "sub/draft.md", "sub/deep/draft.md"],
    "[&&d~~||[]raft.md": ["draft.md", "sub/draft.md", "sub/deep/draft.md"],
    "sub[/]draft.md": [],
    "sub[!a]draft.md": [],
}


@pytest.mark.parametrize("pattern", EXCLUDED)
def test_what_is_excluded_is_left_out(tmp_path: Path, pattern: str) -> None:
    """Patterns as in .gitignore, by option and by file; everything else is pushed."""
    every = {"draft.md", "own.md", "sub/draft.md", "sub/deep/draft.md", "sub/deep/own.md"}
    for name in every:
        write(tmp_path / name, "x")
    names = {file.name for file in find_files([tmp_path], exclude=[pattern]).files}
    assert every - names == set(EXCLUDED[pattern])
    write(tmp_path / ".keysteadignore", f"# what is not ready\n\n  {pattern}  \n")
    assert {file.name for file in find_files([tmp_path]).files} == names
    for name in every - names:
        files = find_files([tmp_path / name], root=tmp_path)
        assert (files.files, files.excluded) == ([], 1)


def test_patterns_that_mean_something_else_are_refused(tmp_path: Path) -> None:
    """A pattern that includes files again is refused; so is a list that can't be read."""
    with pytest.raises(InvalidValue, match="!"):
        find_files([tmp_path], exclude=["!keep.md"])
    write(tmp_path / ".keysteadignore", b"\xff")
    with pytest.raises(InvalidValue, match="not UTF-8"):
        find_files([tmp_path])


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-32", "shift_jis"])
def test_text_of_another_encoding_is_read_in_it(tmp_path: Path, encoding: str) -> None:
    """The text is the same in every encoding; text of another encoding than the named one is refused."""
    word = "日本" if encoding == "shift_jis" else "café"
    write(tmp_path / "a.txt", word.encode(encoding))
    documents, refused = read(tmp_path, shaping=Shaping(encoding=encoding))
    assert documents["a.txt"]["text"] == word
    assert not refused
    assert "--encoding" in "".join(read(tmp_path)[1].values())
    write(tmp_path / "b.txt", "x".encode("ascii") * (4 * MAX_TEXT_BYTES + 1))
    write(tmp_path / "c.txt", "x".encode(encoding) * 3)
    assert str(tmp_path / "b.txt") in read(tmp_path, shaping=Shaping(encoding=encoding))[1]


def test_front_matter_gives_attributes(tmp_path: Path) -> None:
    """Its title is the title, every other text an attribute; the path keeps its name. Text files have no title."""
    text = "---\r\ntitle: Real\r\nowner: 'Ann'\r\npath: /etc/passwd\r\n---\r\n# Heading\r\n"
    write(tmp_path / "a.md", text)
    write(tmp_path / "b.txt", text)
    documents, _ = read(tmp_path)
    assert documents["a.md"]["title"] == "Real"
    assert documents["a.md"]["attributes"] == {"owner": "Ann", "path": "a.md"}
    assert documents["a.md"]["text"] == text
    assert documents["b.txt"]["attributes"] == {"path": "b.txt"}


def test_urls_and_times_are_set_on_request(tmp_path: Path) -> None:
    """A link base gives each file its URL, escaped; the modification time is an attribute on request."""
    file = write(tmp_path / "a b/ü.md", "x")
    os.utime(file, (1_800_000_000, 1_800_000_000))
    shaping = Shaping("https://docs.example/base/", modified=True)
    ((_, document),) = read(tmp_path, shaping=shaping)[0].items()
    assert document["url"] == "https://docs.example/base/a%20b/%C3%BC.md"
    assert document["attributes"]["modified"] == "2027-01-15T08:00:00Z"
    assert document["attributes"]["path"] == "a b/ü.md"


def test_each_invalid_file_is_reported(tmp_path: Path) -> None:
    """Binary, not UTF-8, too large, a dead link, a pipe: each is reported by name; the others are pushed."""
    write(tmp_path / "good.md", "fine")
    write(tmp_path / "binary.md", b"\0\1\2")
    write(tmp_path / "latin.txt", "café".encode("latin-1"))
    write(tmp_path / "large.txt", "x" * (MAX_TEXT_BYTES + 1))
    write(tmp_path / "full.txt", b"\xef\xbb\xbf" + b"x" * MAX_TEXT_BYTES)
    (tmp_path / "dead.md").symlink_to(tmp_path / "gone.md")
    os.mkfifo(tmp_path / "pipe.md")
    documents, refused = read(tmp_path)
    assert set(documents) == {"good.md", "full.txt"}
    assert {Path(source).name: detail.split(":")[0] for source, detail in refused.items()} == {
        "binary.md": "is binary",
        "latin.txt": "is not UTF-8 text",
        "large.txt": "is too large",
        "dead.md": "can't be read",
        "pipe.md": "is not a file",
    }


def test_no_link_leaves_the_folder(tmp_path: Path) -> None:
    """A link to a file elsewhere is not pushed with the folder, nor is a linked folder walked; both are reported."""
    folder = tmp_path / "folder"
    write(folder / "own.md", "own")
    (folder / "same.md").symlink_to(folder / "own.md")
    secret = write(tmp_path / "elsewhere/secret.md", "secret")
    (folder / "secret.md").symlink_to(secret)
    (folder / "sub").symlink_to(secret.parent)
    documents, refused = read(folder)
    assert set(documents) == {"own.md", "same.md"}
    assert {Path(source).name for source in refused} == {"secret.md", "sub"}
    assert set(read(folder / "secret.md")[0]) == {"secret.md"}


def test_an_unreadable_folder_is_reported(tmp_path: Path) -> None:
    """An unreadable folder (here: missing) is reported, and not treated as empty."""
    _, refused = read(tmp_path / "missing")
    assert refused == {str(tmp_path / "missing"): "can't be read: No such file or directory"}


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("{", "is not JSON"),
        ("[]", "is not an object"),
        ("3", "is not an object"),
        ('{"id": "a"}', "is missing text"),
        ('{"text": "a"}', "is missing id"),
        ('{"id": 1, "text": ""}', "id must be a string"),
        ('{"id": "a", "text": null}', "text must be a string"),
        ('{"id": "a", "text": "", "title": null}', "title must be a string"),
        ('{"id": "a", "text": "", "url": 5}', "url must be a string or null"),
        ('{"id": "a", "text": "", "url": "x"}', "url must be an absolute http or https URL"),
        ('{"id": "a/b", "text": ""}', "id must be"),
        ('{"id": "a", "text": "", "tags": []}', "unknown field: tags"),
        ('{"id": "a", "id": "b", "text": ""}', "repeats a name"),
        ('{"id": "a", "text": "", "attributes": {"x": NaN}}', "contains NaN"),
        ('{"id": "a", "text": "", "attributes": []}', "attributes must be an object"),
        ('{"id": "a", "text": "", "attributes": {"x": 1e999}}', "attributes must contain finite"),
        ('{"id": "a", "text": "\\u0000"}', "text must not contain"),
        ('{"id": "a", "text": "\\ud800"}', "text must not contain"),
        ('{"id": "a", "text": "", "attributes": ' + "[" * 5000, "is not JSON"),
        ('{"id": "a", "text": "' + "x" * (MAX_TEXT_BYTES + 1) + '"}', "text must be at most"),
        ("x" * (LONGEST_LINE * 2), "is too large"),
    ],
    ids=lambda text: text[:40],
)
def test_a_bad_line_is_reported_and_the_next_is_read(
    tmp_path: Path, line: str, detail: str
) -> None:
    """Each line by its number and its fault, as the server would report it; the lines around it are pushed."""
    file = write(
        tmp_path / "x.jsonl", f'{{"id": "1", "text": ""}}\n{line}\n{{"id": "3", "text": ""}}'
    )
    documents, refused = read(file)
    assert set(documents) == {"1", "3"}
    ((source, reason),) = refused.items()
    assert source == f"{file}:2"
    assert reason.startswith(detail)


def test_what_the_server_gave_can_be_pushed_again(tmp_path: Path) -> None:
    """A document as the API returns it is a valid line: the times that only the server sets are ignored."""
    shown: dict[str, Any] = {"id": "a", "title": "T", "text": "x", "url": None, "attributes": {}}
    instants = {"created_at": "2026-11-23T00:00:00Z", "updated_at": "2026-11-23T00:00:00Z"}
    file = write(tmp_path / "x.jsonl", json.dumps(shown | instants))
    assert read(file) == ({"a": shown}, {})


def test_an_id_is_pushed_once(tmp_path: Path) -> None:
    """A repeated id is refused, naming its first source; the same file named twice is one."""
    first, other = tmp_path / "one", tmp_path / "other"
    write(first / "README.md", "one")
    write(other / "README.md", "other")
    write(other / "z.jsonl", '{"id": "README.md", "text": "third"}')
    documents, refused = read(first, other, first)
    assert documents["README.md"]["text"] == "one"
    assert set(refused) == {str(other / "README.md"), f"{other / 'z.jsonl'}:1"}
    assert all(str(first / "README.md") in detail for detail in refused.values())


def ready(sizes: Sequence[int]) -> list[Ready]:
    """Return documents of these sizes."""
    return [Ready(DocumentDraft(str(n), ""), "here", size) for n, size in enumerate(sizes)]


def test_batches_keep_within_their_bounds_and_lose_nothing() -> None:
    """At most 1,000 documents and 4 MiB each, in order, none missing."""
    for sizes in ([10] * 2_500, [BATCH_BYTES // 3] * 7, [BATCH_BYTES * 2, 1, 1], []):
        documents = ready(sizes)
        cut = list(batches(documents))
        assert [document for batch in cut for document in batch] == documents
        assert all(len(batch) <= 1_000 for batch in cut)
        assert all(
            len(batch) == 1 or sum(document.size for document in batch) <= BATCH_BYTES
            for batch in cut
        )
    assert len(list(batches(ready([10] * 2_500)))) == 3
