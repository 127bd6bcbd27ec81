"""Every compiled pattern of the product takes time linear in its input."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

from tests.support.growth import WORST, hidden_patterns, modules, patterns, patterns_in, worst_of

USES = sorted(patterns().items(), key=lambda item: str(item[0].pattern))


@pytest.mark.parametrize(("pattern", "methods"), USES, ids=[repr(p.pattern)[:60] for p, _ in USES])
def test_time_is_linear(pattern: re.Pattern[str] | re.Pattern[bytes], methods: set[str]) -> None:
    """On texts made of the pattern's own letters, the time at most doubles with the size, in every use."""
    assert methods, "no use of this pattern was found"
    for method in sorted(methods):
        growth, text = worst_of(pattern, method)
        assert growth <= WORST, f"{method} of {text} grew {growth:.1f}-fold in a doubling"


def test_no_pattern_is_hidden() -> None:
    """Patterns are constants, so that a new one is measured too, except those that a user writes."""
    hidden = {module.__name__: hidden_patterns(inspect.getsource(module)) for module in modules()}
    assert {name for name, lines in hidden.items() if lines} <= WRITTEN_BY_USERS
    assert len(USES) >= 40


WRITTEN_BY_USERS = {"keystead.client.folders.found"}
"""Modules that compile what the user of the command has given, for that command only."""
QUADRATIC = {
    "the search of joined fields": (rb",[ \t,]*[a-z]+ +[^ ,=]", "search"),
    "blanks before an end": (r"\s+$", "search"),
    "two runs of the same": (r"[a-z]*[a-z0-9]*_", "fullmatch"),
    "a lazy run before blanks": (r"# (.*?)(?:[ \t]+#+)?[ \t]*", "fullmatch"),
    "a tag": (r"<a [^>]*href=", "search"),
    "a run in a run": (r"(?:[a-z]+)*_", "fullmatch"),
    "a substitution": (r"\(.*\)", "sub"),
}


@pytest.mark.parametrize("name", QUADRATIC)
def test_a_quadratic_one_is_caught(name: str) -> None:
    """The measurement itself: patterns that are known to be slow are found slow."""
    pattern, method = QUADRATIC[name]
    assert worst_of(re.compile(pattern), method)[0] > WORST


def test_a_new_pattern_is_found() -> None:
    """Patterns in constants and containers are found with their uses; elsewhere a pattern is refused."""
    source = "import re\nA = re.compile('a+')\nB = {'b': re.compile('b+')}\n\ndef f(x):\n    A.match(B[x].sub)\n"
    planted = ModuleType("planted")
    exec(source, vars(planted))  # noqa: S102 - our own text
    methods_by_pattern = {
        pattern.pattern: uses for pattern, uses in patterns_in(planted, source).items()
    }
    assert methods_by_pattern == {"a+": {"match"}, "b+": {"sub"}}
    assert hidden_patterns(source) == []
    for line in (
        "return re.search('a', x)",
        "return re.compile('a')",
        "return re.sub('a', 'b', x)",
    ):
        assert hidden_patterns(f"import re\ndef f(x):\n    {line}\n") == [3]
    assert hidden_patterns("import re\nclass C:\n    A = re.compile('a')\n") == [3]
