"""Each example of the page about tests runs as it is, in a fresh process as a reader runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "testing.md"
EXAMPLE = re.compile(r"^```python\n# (test_\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FRAMEWORKS = {"fastapi", "starlette", "flask", "django_views", "rest_framework", "asgi", "wsgi"}
ALONE = "test_rest_framework.py"
"""It configures Django, as another example does, which a process can do once."""


def test_every_example_of_the_page_passes(tmp_path: Path) -> None:
    """Each passes under pytest, the one with a real Keystead too, and no framework is left out."""
    examples = dict(EXAMPLE.findall(PAGE.read_text()))
    assert examples.keys() == {f"test_{name}.py" for name in FRAMEWORKS | {"embedded"}}
    for name, text in examples.items():
        (tmp_path / name).write_text(text)
    own = {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")}
    together = [name for name in examples if name != ALONE]
    for names in (together, [ALONE]):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names],
            cwd=tmp_path,
            env=own | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
    principal = re.search(
        r"^```python\n(from datetime.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert principal is not None
    values: dict[str, object] = {}
    exec(principal[1], values)  # noqa: S102 - the page's own lines
    assert repr(values["principal"]).startswith("Principal(")
