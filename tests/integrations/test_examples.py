"""Each example runs as its page says, on a real server, and refuses revoked keys."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.examples import EXAMPLES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "embedding.md").read_text()


@pytest.mark.slow
def test_the_examples_serve_until_the_key_is_revoked() -> None:
    """`make examples` runs each: 401 without a key, 200 with one, and 401 once it is revoked."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "examples.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran = [line.split()[0] for line in done.stdout.splitlines()]
    assert ran == list(EXAMPLES)


def test_no_example_is_left_out() -> None:
    """Every example is run, and the page about embedding shows it whole."""
    files = {file.stem: file.read_text() for file in (ROOT / "examples").glob("*_*.py")}
    files.pop("__init__")
    assert files.keys() == EXAMPLES.keys()
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert [name for name, text in files.items() if text not in blocks] == []
