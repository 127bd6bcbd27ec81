"""The words that Keystead does not use, and what to say instead.

    python -m tests.standing.banned_words PATH...           words in docstrings, comments, texts and Markdown
    python -m tests.standing.banned_words --heads PATH...   docstrings of functions that start with no verb

Each finding is one line, `file:line: word -> say instead`; the count follows. The exit status is 1 if there are any.

In Python, the checker reads docstrings, comments and string literals that are prose: at least three words, no SQL, no
regular expression. In tests it reads docstrings and comments only, because their literals are data. Text in
`backticks` and fenced blocks is code and is not checked. In templates it reads their texts, comments and the attributes
that people read. Works on the standard library alone.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BANNED: Final[dict[str, str]] = {
    # Subjects and conditions
    r"(?i:whoever)": "the caller, the user, anyone who",
    r"(?i:nobody)": "no user, no caller; or turn the sentence round",
    r"(?i:somebody)": "someone, a user, the caller",
    r"(?:for|by|of|to|from|with) who": "the caller, the user; whom",
    r"(?:[Ww]here there (?:is|are)|[Ww]here (?:nothing|none|no|neither|not)"
    r"|[,;:] where (?:it|they|a|an)|Where (?:it|a|an))": "if, when",
    # Telling
    r"(?i:told|tells)": "return, report, log, notify, show",
    r"(?i:tell)(?!(?: \S+){0,4} (?:apart|from))": "return, report, log, notify, show",
    r"(?:^|(?<=[.:;] ))Say (?:who|what|whose|how|which|whether|where)": "Show, Explain",
    # Word order and negation
    r"(?i:(?<!there\s)(?:is|are|was|were) no)(?=\s\w)(?!\s\w+er\b)"
    r"(?!\s(?:more|less|different|way|need|exception)\b)": "is not a, has no",
    r"(?<!there\s)(?<!There\s)(?:is|are|was|were) none|(?:has|have|had|with|to|for|by|of|if|holds|names) none"
    r"|none (?:that|of which)": ("not any, no X; or name the thing"),
    r"(?:^|(?<=[.:;] ))Of (?:several|these|those|all|two|many|a|an|what|which|one|each)": "start with the subject",
    r"So (?:often|long|many|much|few)": "at most N times, every N seconds, while",
    r"(?i:but for)": "except",
    r"(?i:(?<!set )(?<!put )(?<!step )aside)": "except; separate",
    r"(?i:any ?more)": "no longer",
    r"(?i:for good)(?! (?:reason|measure|English))": "permanently; this can't be undone",
    r"Not at all": "state the default",
    # Translated verbs and adverbs
    r"(?i:anew)": "again; retry",
    r"(?i:mend(?:s|ed|ing)?)": "fix",
    r"(?i:at once)": "immediately; at the same time",
    r"(?i:upon)": "on; caused by",
    r"(?i:beside)": "next to, with, in addition to",
    r"(?i:parted)": "separated",
    r"(?i:hand(?:s|ed|ing)? (?:\w+ )?on)": "pass",
    r"(?i:(?<!one )(?<!a )pass(?:ed|es|ing)? over)": "skip",
    r"(?i:to be had)": "available",
    r"(?i:(?:is|are|was|were|be) looked at)": "is checked, is read",
    r"(?i:g[ia]ven? back|gives? back)": "return, release",
    r"(?i:lives? on)": "keeps working, stays valid",
    r"(?i:in vain)": "without success",
    r"(?i:stands? (?:in(?! for)|on|under|at|there|here|below|above|once))": "is in, is on",
    r"(?i:to the proof)": "test",
    r"(?i:the same again)": "confirm; the same value",
    r"(?i:once for each|this once)": "repeatable; only once",
    r"(?i:lest|ought|therein|thereof|wherein|whereof|herewith)": "if not, should, in it, of it",
    r"(?i:holds extra)": "unknown field",
    # Home-made terms
    r"(?i:desks?)": "backend; shared base of pages",
    r"(?i:walls?|walled)": "row-level security",
    r"(?i:pulses?)": "liveness probe",
    r"(?<![-_.])(?<!= )(?i:stamps?)(?![-_])": "generation, generation file",
    r"(?i:(?:the|its|their|of|a|new) turns)": "FIFO lock",
    r"(?i:endings)": "revocation log, revocations",
    r"(?i:(?<!two )readings|standings)": "point reads; introspection response",
    r"(?i:lanes?)": "connection, concurrent attempts",
    r"(?i:(?:takes?|took|taken|taking|ends?|ended|ending|gives?|away) authority|authority (?:ends|ended))": (
        "revoke, revokes access"
    ),
    r"(?i:(?<!good )habits?)": "key hygiene, finding",
    r"(?i:makers?)": "creator, the key that created it",
    r"(?i:(?<!front )doors?)": "endpoint, entry point, client",
    r"(?i:an instant|a span)": "a time, a duration",
    r"(?i:stor(?:y|ies))": "history",
    r"(?i:(?:a|the|one|no|each|every|daily|this) letter)(?! (?:[A-Z]\b|or\b|and\b|of\b))": "email, digest",
    r"(?i:fleets?|scenes?)": "servers; environment",
}
"""Each pattern matches whole words; the value is what to say instead."""

_CHECKED: Final = (".py", ".md", ".html")
HEADS: Final = re.compile(
    r"(?:A|All|An|Another|Any|As|At|Both|By|Each|Every|From|How|If|In|Its|Likewise|Neither|No|None|Not|Of|On|One|Only|So"
    r"|Some|Such|That|The|Their|These|They|This|Those|Until|What|When|Where|Whether|Which|Who|Whose|With|Without)"
)
"""First words of a docstring that are not an imperative verb; neither is a third person, such as `Returns`."""

_WORDS: Final = [
    (re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.MULTILINE), say)
    for pattern, say in BANNED.items()
]
_CODE: Final = re.compile(r"``[^`]*``|`[^`\n]*`|(?:https?://|\.{0,2}/)[^\s)]+")
_PLACEHOLDER: Final = re.compile(r"\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
_TAG: Final = re.compile(r"<[^<>]*>", re.DOTALL)
_READ: Final = re.compile(r'(?:aria-label|placeholder|title|data-busy|data-outcome)="([^"]*)"')
_FENCE: Final = re.compile(r"^ *```.*?^ *```|<!--.*?-->", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\([^)]*\)")
_PROSE: Final = re.compile(r"[A-Za-z']+[,;:]? [A-Za-z']+[,;:]? [A-Za-z']+")
_NO_PROSE: Final = re.compile(r"\b[A-Z]{4,} |\(\?|\\[dwsb]|\[\^|^\s*<")


@dataclass(frozen=True, slots=True)
class Finding:
    """One place in a file, the words in it, and what to say instead."""

    path: Path
    line: int
    word: str
    say: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word} -> {self.say}"


def banned_words(paths: Iterable[Path]) -> list[Finding]:
    """Return every banned word in these files and folders."""
    return [
        Finding(path, line + text.count("\n", 0, match.start()), " ".join(match[0].split()), say)
        for path in files_in(paths)
        for line, text in prose_of(path)
        for pattern, say in _WORDS
        for match in pattern.finditer(text)
    ]


def wrong_heads(paths: Iterable[Path]) -> list[Finding]:
    """Return every docstring of a function that does not begin with an imperative verb. Tests are exempt."""
    return [
        Finding(path, node.body[0].lineno, head, "begin with an imperative verb")
        for path in files_in(paths)
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if not node.name.startswith("test_") and not _is_value(node)
        if _is_no_verb(head := re.sub(r"\W.*", "", ast.get_docstring(node) or "", flags=re.DOTALL))
    ]


def files_in(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the Python files, Markdown files and templates among these paths and below them."""
    for path in paths:
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in below if file.suffix in _CHECKED and file.is_file())


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file that people read, each with its first line; code in them is blanked."""
    source = path.read_text()
    if path.suffix == ".md":
        yield 1, _without_code(_LINK.sub("]()", _FENCE.sub(_blank, source)))
        return
    if path.suffix == ".html":
        yield 1, _TAG.sub(_attributes, _PLACEHOLDER.sub(_blank, source))
        return
    for line, text in _comments(source):
        yield line, _without_code(text)
    in_tests = "tests" in path.parts or path.name.startswith(("test_", "conftest"))
    for line, text in _literals(ast.parse(source), docstrings_only=in_tests):
        yield line, _without_code(text)


def _literals(tree: ast.Module, *, docstrings_only: bool) -> Iterator[tuple[int, str]]:
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    for node in ast.walk(tree):
        text = "" if id(node) in parts else _text(node)
        if id(node) in docstrings or (not docstrings_only and _is_prose(text)):
            yield getattr(node, "lineno", 1), text


def _text(node: ast.AST) -> str:
    """Return the text of a string or of an f-string, with a word in place of each value; empty for other nodes."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr():
            return "".join(_text(part) or "value" for part in node.values)
    return ""


def _is_prose(text: str) -> bool:
    return bool(_PROSE.search(text)) and not _NO_PROSE.search(text)


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def _is_no_verb(head: str) -> bool:
    return HEADS.fullmatch(head) is not None or (
        head.endswith("s") and not head.endswith(("ss", "us"))
    )


def _is_value(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether it is a property or a fixture, whose docstring is a noun phrase."""
    return any(re.search("property|fixture", ast.unparse(it)) for it in node.decorator_list)


def _without_code(text: str) -> str:
    return _CODE.sub(_blank, text)


def _blank(match: re.Match[str]) -> str:
    """Return as many lines without words."""
    return "…" + "\n" * match[0].count("\n")


def _attributes(match: re.Match[str]) -> str:
    """Return those attributes of a tag that people read, with as many lines."""
    return f"| {' | '.join(_READ.findall(match[0]))} |" + "\n" * match[0].count("\n")


def main(arguments: list[str]) -> int:
    """Print the findings and their count; return 1 if there are any."""
    heads = "--heads" in arguments
    paths = [Path(it) for it in arguments if it != "--heads"]
    findings = (wrong_heads if heads else banned_words)(paths)
    report = [*findings, f"{len(findings)} {'heads' if heads else 'words'}"]
    sys.stdout.writelines(f"{line}\n" for line in report)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
