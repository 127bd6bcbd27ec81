"""Output for a terminal, a pipe and a program."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from io import BytesIO, TextIOWrapper

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.cli import render

NOW = datetime(2026, 11, 23, 13, 4, tzinfo=UTC)


def harmful(text: str) -> bool:
    """Return whether any character is a control, a format other than a joiner, a surrogate or a line break."""
    kinds = {unicodedata.category(c) for c in text if c not in "\u200c\u200d"}
    return bool(kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"})


@given(st.text(st.characters()))
def test_no_character_that_a_terminal_obeys_gets_through(text: str) -> None:
    """Any text: no control, no direction mark, no surrogate, no line break; all other characters are unchanged."""
    shown = render.inert(text)
    assert not harmful(shown)
    assert (shown == text) is not harmful(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m", "\\x9b31m"),
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("one\ntwo\r\tthree", "one\\ntwo\\r\\tthree"),
        ("a\u202eb\u2066c\u2028d", "a\\u202eb\\u2066c\\u2028d"),
        ("\ud800", "\\ud800"),
        ("=1+1|cmd", "=1+1|cmd"),
        ("naïve 漢字 👩\u200d🔬", "naïve 漢字 👩\u200d🔬"),
    ],
)
def test_what_moves_a_terminal_is_shown_instead(text: str, shown: str) -> None:
    """Escapes, the clipboard sequence, line ends and direction marks become readable; words and emoji stay."""
    assert render.inert(text) == shown


def test_json_is_plain_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """A JSON document contains everything and moves no cursor, wherever it is printed."""
    value = {"agent": "\x1b[2J\x7f\x9b\u202e\ud800é"}
    render.print_json(value)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert not any(unicodedata.category(c) == "Cc" for c in printed.replace("\n", ""))
    assert json.loads(printed) == value


def test_columns_stand_below_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe each column starts at one place, wide characters count as two, no line has trailing space."""
    render.print_table(("A", "B"), [("漢字", "x"), ("abcdef", ""), ("e\ns", "y")])
    assert capsys.readouterr().out == "A       B\n漢字    x\nabcdef\ne\\ns    y\n"


ID = "key_02tcRIyrxLXTR81B3dqdOx"
ROW = (ID, "a description, with a few more words than there is room for", "ks_…laf3", "active")


@pytest.mark.parametrize("columns", [10, 26, 40, 60, 80, 120])
def test_an_id_is_whole_at_any_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """It can be copied from every terminal: other columns are folded, then dropped from the right, and named."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    render.print_table(("ID", "DESCRIPTION", "TOKEN", "STATUS"), [ROW, ROW])
    out, err = capsys.readouterr()
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
    assert out.count(ID) == 2
    assert all(len(line.rstrip()) <= max(columns, len(ID) + 2) for line in lines)
    for heading, cell in zip(("TOKEN", "STATUS"), ROW[2:], strict=True):
        assert (out.count(cell) == 2) is not (heading in err)
    assert (err == "") is (columns >= 80)


def test_an_id_within_a_cell_is_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ID among other words, as in the list of events, is never split."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    render.print_table(("WHEN", "ABOUT"), [("2026-11-23 13:04 UTC " * 2, f"the key {ID} of Acme")])
    assert ID in capsys.readouterr().out


def test_a_narrow_encoding_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the stream cannot write a character, its escape is written, and no command fails."""
    raw = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(raw, encoding="ascii"))
    render.print_line("ks_…laf3 é")
    sys.stdout.flush()
    assert raw.getvalue() == b"ks_\\u2026laf3 \\xe9\n"


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(days=90), "in 90 days"),
        (timedelta(days=1, hours=5), "in 1 day"),
        (timedelta(hours=-3), "3 hours ago"),
        (timedelta(minutes=-1), "1 minute ago"),
        (timedelta(seconds=20), "in less than a minute"),
        (timedelta(), "less than a minute ago"),
    ],
)
def test_distances_are_rounded_down(distance: timedelta, words: str) -> None:
    """The largest unit that fits, rounded down."""
    assert render.away(NOW + distance, NOW) == words
