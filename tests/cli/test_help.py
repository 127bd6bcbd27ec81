"""Help and guide: every command and option is explained, and the guide is correct."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from keystead import __version__, cli, revision
from keystead.cli.outcome import Exit
from tests.cli.conftest import Keystead

GUIDE = (Path(__file__).parents[2] / "docs/guides/cli.md").read_text()
HEAVY = ("alembic", "fastapi", "granian", "httpx2", "jinja2", "psycopg", "pydantic", "sqlalchemy")


def commands(app: App, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """Yield every command, with the words that call it."""
    for name in app:
        if name.startswith("-"):
            continue
        inner = app[name]
        if inner.default_command:
            yield (*path, name), inner
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(cli.application()))


def test_there_is_every_command() -> None:
    """The commands tested here are those of the program."""
    assert len(COMMANDS) >= 20
    assert {("keys", "revoke"), ("documents", "push"), ("serve",), ("whoami",)} <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_explains_itself(path: tuple[str, ...]) -> None:
    """The command has a sentence, and so has every argument and option."""
    app = COMMANDS[path]
    assert app.help.strip()
    for argument in app.assemble_argument_collection(parse_docstring=True):
        if argument.parse and argument.show:
            assert argument.parameter.help, argument.name


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_printed(run: Keystead, flag: str) -> None:
    """Both the long and the short option print it."""
    shown = run(flag)
    assert (shown.code, shown.out) == (Exit.DONE, f"{__version__} (revision {revision()})\n")


def test_help_groups_the_commands_and_imports_none(run: Keystead) -> None:
    """`keystead --help` shows all nouns under their headings, and imports no module that only commands need."""
    shown = run("--help")
    assert shown.code == Exit.DONE
    places = [shown.out.index(heading) for heading in cli.GROUPS]
    assert places == sorted(places)
    nouns = {path[0] for path in COMMANDS}
    assert {
        line.split()[1] for line in shown.out.splitlines() if re.match("│ [a-z]", line)
    } == nouns
    calls = [["--help"], ["keys", "--help"], ["documents", "push", "--help"]]
    script = (
        f"import sys; from keystead.cli import run; [run(words) for words in {calls!r}];"
        f"sys.exit(str(sorted(set({HEAVY!r}) & set(sys.modules))))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert process.stderr == "[]\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["keys", "eat"], ["keys", "list", "--nonsense"], ["keys", "create"]]
)
def test_wrong_usage_is_one_line(run: Keystead, arguments: list[str]) -> None:
    """The exit code is that of wrong usage, with a line, in JSON an object, on standard error."""
    ended = run(*arguments)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert re.fullmatch(r"keystead: .+\n", ended.err)
    assert run(*arguments, "--json").err.startswith('{"code": ')


def test_the_guide_knows_every_command() -> None:
    """The guide's table has exactly the commands."""
    documented = set[tuple[str, ...]]()
    for cell in re.findall(r"^\| (`keystead .*?`) \|", GUIDE, re.MULTILINE):
        first, *verbs = re.findall(r"`([^`]+)`", cell)
        _, *words = first.split()
        documented |= {tuple(words), *((words[0], verb) for verb in verbs)}
    assert documented == set(COMMANDS)


def test_the_guide_has_the_exit_codes() -> None:
    """The table of exit codes is the program's."""
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \| \S", GUIDE, re.MULTILINE)
    assert {name: int(code) for code, name in rows} == {code.name: code.value for code in Exit}


def test_the_guides_examples_are_valid(run: Keystead) -> None:
    """Every command line of the guide is accepted, and its file of plans is valid."""
    lines = [
        line.removesuffix(" > ~/.config/keystead/token")
        for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("keystead ")
    ]
    assert len(lines) >= 10
    for line in lines:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)][1:]
        command, _, unused = cli.application().parse_known_args(words)[:3]
        assert command is not None
        assert not unused, line
    (plans,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    assert [plan["id"] for plan in tomllib.loads(plans)["plans"]] == ["free", "scale"]
