"""The log has one JSON object a line, from every writer and with any content, and contains no secret."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from keystead.operation import logs

SECRET = "correct-horse-battery"
TOKEN = "ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2aDLy9"
PROGRAM = """
import logging, sys, threading, warnings
from keystead.logger import Logger
from keystead.operation import logs
logs.configure("info")
log = Logger("keystead.test")
library = logging.getLogger("some.library")
class Secretive:
    def __repr__(self):
        return SECRET
def fail():
    raise ValueError(SECRET)
def failed(say):
    try:
        fail()
    except ValueError:
        say()
"""


def lines_of(program: str) -> list[Any]:
    """Return the decoded lines that a process writes to standard error; each must be JSON in ASCII."""
    source = f"SECRET = {SECRET!r}\nTOKEN = {TOKEN!r}\n{PROGRAM}\n{program}"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, check=False)
    assert SECRET.encode() not in done.stderr
    assert TOKEN[-20:].encode() not in done.stderr
    assert done.stdout == b""
    return [json.loads(line.decode("ascii")) for line in done.stderr.splitlines()]


def test_a_line_has_its_event_and_fields() -> None:
    """From the configured level on; no line of ours names its logger."""
    info, failed = lines_of(
        """
log.info("task recovered", task="flush", failures=3)
log.error("task failed", says=TOKEN)
logs.configure("warning")
log.info("task recovered")
"""
    )
    assert info.keys() == {"event", "task", "failures", "level", "timestamp"}
    assert (info["event"], info["task"], info["failures"]) == ("task recovered", "flush", 3)
    assert (failed["level"], failed["event"]) == ("error", "task failed")


def test_every_way_to_the_log_has_one_form_and_shows_no_value() -> None:
    """Lines of ours and of libraries, warnings and uncaught exceptions have one form, without an exception's text."""
    library, warned, chained, broken, thread, last = lines_of(
        """
failed(lambda: library.exception("library said\\nmore: %s", SECRET))
warnings.warn("careful")
try:
    try:
        fail()
    except ValueError as error:
        raise KeyError(SECRET) from error
except KeyError:
    library.error("chained", exc_info=True)
library.error("%d of %s", SECRET)
racer = threading.Thread(target=fail); racer.start(); racer.join()
fail()
"""
    )
    assert (library["event"], library["logger"]) == ("library said", "some.library")
    assert library["errors"] == ["builtins.ValueError"]
    assert library["places"][-1].endswith(" fail")
    assert "careful" in warned["event"]
    assert chained["errors"] == ["builtins.KeyError", "builtins.ValueError"]
    assert broken["event"] == "<builtins.str>"
    assert [line["event"] for line in (thread, last)] == ["uncaught"] * 2
    assert all({"event", "level", "timestamp"} <= line.keys() for line in (library, last))


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "a\r\nb",
        "a\x1b[31mb",
        "a\u2028b\u2029c\x85d",
        'a"}\n{"event":"forged',
        "a\x7f\x00b",
        "\ud800",
    ],
)
def test_no_text_breaks_a_line_or_moves_a_terminal(text: str) -> None:
    """Line breaks, escapes, separators and lone surrogates come out unchanged, within one line of ASCII."""
    ours, library = lines_of(f"log.info('it', value={text!r})\nlibrary.error({text!r})")
    assert (ours["value"], library["event"]) == (text, text)


def test_what_looks_like_a_token_is_masked_wherever_it_stands() -> None:
    """Second defense: a token in a value, name, list, object or library's line is masked; ids and words are not."""
    key_id = "key_02tcRIyrxLXTR81B3dqdOx"
    first, second = lines_of(
        f"""
log.info(TOKEN, value=TOKEN, listed=[TOKEN, "x" + TOKEN], nested={{TOKEN: {{"deep": TOKEN}}}}, key_id={key_id!r})
library.error("failed for %s at %s", TOKEN, {key_id!r})
"""
    )
    assert first["key_id"] == key_id
    assert first["value"] == "[redacted]"
    assert second["event"] == f"failed for [redacted] at {key_id}"


@pytest.mark.slow
@pytest.mark.parametrize("before", ["\n", "\u2028", "\\", '"', "\\u2028", "\x7f", "\\n"])
def test_masking_leaves_the_line_whole(before: str) -> None:
    """A token directly after an escaped character is masked, and that character stays."""
    (line,) = lines_of(f"log.info('it', value={before!r} + TOKEN)")
    assert line["value"].startswith(before[0])
    assert line["value"].endswith("[redacted]")


def test_a_terminal_gets_lines_for_people() -> None:
    """Time, level, event and fields, still without secrets, and without anything that moves the terminal."""
    at_terminal = """
import os, pty
kept, ours = pty.openpty()
os.dup2(ours, 2)
logs.configure("info")
log.warning("task failed", task="flush", failures=3, text="a\\x1b[31m\\nb", says=TOKEN)
os.write(1, os.read(kept, 65536))
"""
    source = f"TOKEN = {TOKEN!r}\n{PROGRAM}\n{at_terminal}"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True)
    time, line = done.stdout.decode("ascii").rstrip().split(" ", 1)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", time)
    assert line == (
        'warning  task failed  task="flush" failures=3 text="a\\u001b[31m\\nb" says="[redacted]"'
    )


def test_values_that_are_not_json_are_logged_by_type() -> None:
    """The log never contains the repr of an object."""
    (line,) = lines_of("log.info('it', value=Secretive(), listed=[Secretive()])")
    assert line["value"] == "<__main__.Secretive>"


def test_libraries_are_quiet_at_every_level() -> None:
    """At debug level our lines appear, and a library's do not: a driver's would contain rows."""
    events = [
        line["event"]
        for line in lines_of(
            "logs.configure('debug'); log.info('ours');"
            "library.debug(SECRET); library.info(SECRET); library.warning('w')"
        )
    ]
    assert events == ["ours", "w"]


def test_the_configuration_for_libraries_can_cross_processes() -> None:
    """It has only names, so the server can pass it to its processes."""
    assert json.loads(json.dumps(logs.library_logging())) == logs.library_logging()
