"""Texts are plain English: no banned words, and docstrings that begin with a verb. See `CONTRIBUTING.md`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.standing.banned_words import banned_words, files_in, main, wrong_heads

ROOT = Path(__file__).parents[2]
CHECKED = ("src", "tests", "bench", "scripts", "examples", "docs", "README.md", "CONTRIBUTING.md")
CHECKED_AT_THE_TOP = ("SECURITY.md", "CHANGELOG.md")
THE_CHECKER = ("tests/standing/banned_words.py", "tests/standing/test_language.py")


def checked() -> list[Path]:
    """Return the files that are checked: those of the repository except the checker itself."""
    roots = [ROOT / name for name in (*CHECKED, *CHECKED_AT_THE_TOP)]
    return [
        file
        for file in files_in(roots)
        if not any(file.match(str(ROOT / pattern)) for pattern in THE_CHECKER)
    ]


def test_no_text_has_a_banned_word() -> None:
    """Docstrings, comments, texts for people and Markdown use none of the banned words."""
    assert [str(finding) for finding in banned_words(checked())] == []


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    """A function says in the imperative what it does."""
    assert [str(finding) for finding in wrong_heads(checked())] == []


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("page.md", "A page.\n\nThe key is revoked at once.\n", "page.md:3: at once"),
        ("module.py", '"""Keys, told apart by who asks."""\n', "module.py:1: told"),
        ("module.py", "x = 1\n# Nobody reads this.\n", "module.py:2: Nobody"),
        ("module.py", 'help = f"Revoke {id} for good."\n', "module.py:1: for good"),
        ("page.html", "<p>\n{{ key }} ends at once.</p>\n", "page.html:2: at once"),
        ("page.html", '<a\n aria-label="Mend it">x</a>\n', "page.html:1: Mend"),
        (
            "module.py",
            '"""Keys.\n\nWhere there is a lock, wait."""\n',
            "module.py:3: Where there is",
        ),
    ],
)
def test_a_banned_word_is_found(tmp_path: Path, name: str, text: str, word: str) -> None:
    """A seeded fault of each kind is reported with its line."""
    path = tmp_path / name
    path.write_text(text)
    findings = [str(finding).removeprefix(f"{tmp_path}/") for finding in banned_words([path])]
    assert any(finding.startswith(word) for finding in findings), findings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.md", "Run `tell`.\n\n```\nat once\n```\n\nThere is no limit.\n"),
        ("page.html", '<p class="mend">{% if at_once %}Keep {{ mend }}{% endif %}</p>\n'),
        ("module.py", '"""Recommend amending it; hints to tell keys apart."""\n'),
        ("module.py", "NAME = 'at once'\nSQL = 'SELECT 1 WHERE there is no key'\n"),
    ],
)
def test_code_and_good_english_pass(tmp_path: Path, name: str, text: str) -> None:
    """Code, SQL and words that merely contain a banned one are not reported."""
    path = tmp_path / name
    path.write_text(text)
    assert banned_words([path]) == []


def test_a_docstring_without_a_verb_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line reports it, and its exit status says so."""
    path = tmp_path / "module.py"
    path.write_text('def f():\n    """Whether it is so."""\n\ndef g():\n    """Return it."""\n')
    assert main(["--heads", str(path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{path}:2: Whether -> begin with an imperative verb",
        "1 heads",
    ]
