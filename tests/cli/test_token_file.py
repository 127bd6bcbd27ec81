"""The sources of a command's token, and those that are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keystead import cli
from keystead.cli.outcome import Exit, Failure
from keystead.cli.token_file import read_token
from tests.support.stub_server import TOKEN


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no token in the environment."""
    for name in ("KEYSTEAD_TOKEN", "KEYSTEAD_TOKEN_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(file: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file with that mode."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def refusal(file: Path | None) -> Failure:
    """Return the refusal to read a token."""
    with pytest.raises(Failure) as refused:
        read_token(file)
    return refused.value


def test_the_most_specific_source_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named file, otherwise the variable, otherwise the variable's file, otherwise the default file."""
    write(home / ".config/keystead/token", "usual\n")
    assert read_token(None) == "usual"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    write(home / "xdg/keystead/token", "moved\n")
    assert read_token(None) == "moved"
    monkeypatch.setenv("KEYSTEAD_TOKEN_FILE", str(write(home / "other", "  other\n")))
    assert read_token(None) == "other"
    monkeypatch.setenv("KEYSTEAD_TOKEN", "variable")
    assert read_token(None) == "variable"
    assert read_token(write(home / "named", "named")) == "named"


@pytest.mark.parametrize("begins", [b"", b"\xef\xbb\xbf", b"\n\xef\xbb\xbf"])
@pytest.mark.parametrize("ends", [b"", b"\n", b"\r\n", b" \xc2\xa0\n"])
def test_white_space_and_a_byte_order_mark_are_left_out(
    home: Path, monkeypatch: pytest.MonkeyPatch, begins: bytes, ends: bytes
) -> None:
    """Editors and shells add it around a token, in a file and in the variable."""
    file = home / "named"
    file.write_bytes(begins + b"token" + ends)
    file.chmod(0o600)
    assert read_token(file) == "token"
    monkeypatch.setenv("KEYSTEAD_TOKEN", (begins + b"token" + ends).decode())
    assert read_token(None) == "token"


def test_half_a_character_is_wrong_usage(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An argument that is not UTF-8 reaches the command as lone surrogates: one line says so, and nothing is sent."""
    monkeypatch.setenv("KEYSTEAD_TOKEN", TOKEN)
    assert cli.run(["documents", "search", "-c", "docs", "\udcff"]) == Exit.USAGE
    assert "surrogate" in capsys.readouterr().err


def test_without_a_token_the_sources_are_named(home: Path) -> None:
    """The line names the variable and the file."""
    failure = refusal(None)
    assert failure.code is Exit.DENIED
    assert "KEYSTEAD_TOKEN" in failure.detail
    assert str(home / ".config/keystead/token") in failure.detail
    assert "does not exist" in refusal(home / "missing").detail


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602, 0o610, 0o777])
def test_a_file_that_others_may_open_is_refused(home: Path, mode: int) -> None:
    """Any permission of the group or of others is refused; the line says what to do, not the content."""
    failure = refusal(write(home / "open", "opened-secret", mode))
    assert "chmod 600" in failure.detail
    assert "opened-secret" not in failure.detail


def test_a_link_is_judged_by_the_file_behind_it(home: Path) -> None:
    """A private link to a readable file is refused; any link to a private file is accepted."""
    (home / "link").symlink_to(write(home / "open", "x", 0o644))
    assert "chmod" in refusal(home / "link").detail
    (home / "link2").symlink_to(write(home / "closed", "x"))
    assert read_token(home / "link2") == "x"


def test_a_pipe_or_folder_is_refused_immediately(home: Path) -> None:
    """A pipe without a writer, and a folder, are refused immediately."""
    os.mkfifo(home / "pipe", 0o600)
    assert "not a file" in refusal(home / "pipe").detail
    assert "not a file" in refusal(home).detail


def test_another_users_file_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could read, and change, what is sent in the user's name."""
    file = write(home / "theirs", "x")
    if os.getuid() == 0:
        os.chown(file, 65534, 65534)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 65534)
    assert "another user" in refusal(file).detail
