"""The documentation matches the code: its trees, files, tests and pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "keystead"
TOUR = (DOCS / "tour.md").read_text()
EVIDENCE = (DOCS / "security" / "evidence.md").read_text()
TREE = TOUR[TOUR.index("```\nsrc/keystead/") : TOUR.index("## One request")]
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
MODULE = re.compile(r"`((?:\w+/)+\w+\.py|bootstrap\.py|settings\.py)`")


def packages() -> set[str]:
    """Return every folder of the source that has Python, as `storage` or `storage/migrations`."""
    folders = {path.parent.relative_to(SOURCE) for path in SOURCE.rglob("*.py")}
    return {str(folder) for folder in folders if folder != Path()}


def names_in_the_tree() -> set[str]:
    """Return the paths in the tour's tree; the files of a folder are listed below it."""
    names, folder = set(), ""
    for line in TREE.splitlines()[2:]:
        entry = line.replace("│", " ")
        words = re.match(r"[ ├└]+((?:[\w./]+ ?)+)", entry)
        if words is None:
            continue
        depth = 0 if re.match(r"[├└]", entry) else 1
        for word in re.findall(r"\w+/|\w+\.py(?= |$)", words[1]):
            if depth == 0 and word.endswith("/"):
                folder = word
                names.add(word.rstrip("/"))
            else:
                names.add((folder if depth else "") + word.rstrip("/"))
    return names


def test_the_tour_names_every_package_and_top_level_module() -> None:
    """A reader of the tree misses no folder and no top-level module."""
    modules = {path.name for path in SOURCE.glob("*.py")} - {"__init__.py", "__main__.py"}
    below = {name for name in packages() if name.count("/") < 2}
    assert (modules | below) - names_in_the_tree() == set()


def test_what_the_tree_names_is_there() -> None:
    """Every path in it exists."""
    names = names_in_the_tree()
    assert len(names) > 30
    assert [name for name in sorted(names) if not (SOURCE / name).exists()] == []


def test_every_file_of_the_page_about_changes_exists() -> None:
    """Each of the ten changes names existing files."""
    page = (DOCS / "how-to-change-it.md").read_text()
    changes = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    assert len(changes) == 10
    assert [change for change in changes if "Tests: `tests/" not in change] == []
    names = re.findall(r"`((?:\w+/)*\w+\.(?:py|md|html|css|conf|json))`", page)
    assert len(names) > 60
    assert [name for name in names if not any((it / name).is_file() for it in (SOURCE, ROOT))] == []


@pytest.mark.parametrize("page", ["tour.md", "flows.md"])
def test_every_module_that_a_page_names_is_there(page: str) -> None:
    """Paths in running text exist in the source."""
    names = set(MODULE.findall((DOCS / page).read_text()))
    assert len(names) > 5
    assert [name for name in sorted(names) if not (SOURCE / name).is_file()] == []


def sections(page: str) -> list[str]:
    """Return the headings of the second level of a page about security."""
    return re.findall(r"^## (.+)$", (DOCS / "security" / page).read_text(), re.MULTILINE)


def test_every_promise_names_the_tests_that_show_it() -> None:
    """Each entry of the evidence is followed by tests, and each of them exists under that name."""
    entries = re.split(r"^- ", EVIDENCE, flags=re.MULTILINE)[1:]
    assert len(entries) > 130
    assert [entry for entry in entries if not TEST.search(entry)] == []
    names = TEST.findall(EVIDENCE)
    assert [f"{path}::{name}" for path, name in names if not is_test(path, name)] == []


def test_promises_conditions_and_evidence_have_the_same_sections() -> None:
    """A reader finds the conditions and the evidence of a promise under its heading."""
    promises = sections("promises.md")
    assert sections("evidence.md") == promises
    others = ("What an attacker can do", "Not promised yet")
    conditions = [title for title in sections("conditions.md") if title not in others]
    assert conditions == [title for title in promises if title in conditions]


def is_test(path: str, name: str) -> bool:
    """Return whether the file exists and, if a test is named, defines it."""
    file = ROOT / path
    return file.is_file() and (not name or f"def {name}(" in file.read_text())


def test_decisions_are_numbered_one_by_one() -> None:
    """Each number is one decision, without gaps."""
    numbers = sorted(int(page.name[:4]) for page in (DOCS / "decisions").glob("0*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_index_leads_to_every_page() -> None:
    """Every page is one link away from docs/README.md, or two by the index of its folder."""
    seen = {DOCS / "README.md"}
    for _ in range(2):
        seen |= {target for page in list(seen) for target in linked(page)}
    assert sorted(page.name for page in set(DOCS.rglob("*.md")) - seen) == []


def linked(page: Path) -> set[Path]:
    """Return the Markdown pages that a page links to."""
    links = re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", page.read_text())
    return {(page.parent / link).resolve() for link in links if "://" not in link}


LONGEST_LINE = 100
LONGEST_CELL = 140
LINK_OR_CODE = re.compile(r"\]\([^)]*\)|`[^`]*`|!\[[^]]*\]|<https?:[^>]*>|<sup>|</sup>")


def pages() -> list[Path]:
    """Return every Markdown file of the documentation and of the top folder."""
    return sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def prose_lines(text: str) -> list[str]:
    """Return the lines outside fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).splitlines()


def is_too_long(line: str) -> bool:
    """Return whether a line, or a cell of a table, is longer than a reader's eye follows."""
    if line.startswith("|"):
        cells = LINK_OR_CODE.sub("", line).strip("|").split("|")
        return any(len(cell.strip()) > LONGEST_CELL or ". " in cell.strip() for cell in cells)
    is_one_word = len(line.split()) <= len(re.findall(r"^\s*(?:[-*>] )?", line)) + 1
    return len(line) > LONGEST_LINE and not is_one_word and "](" not in line


def test_lines_of_pages_are_short_and_cells_hold_phrases() -> None:
    """A line has at most 100 characters, links apart; a cell is one phrase of at most 140 besides its code."""
    long = [
        f"{page.relative_to(ROOT)}: {line[:60]}"
        for page in pages()
        for line in prose_lines(page.read_text())
        if is_too_long(line)
    ]
    assert long == []
