"""A test that cannot run says so, and fails if everything is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED_TEST = "import pytest\ndef test_it(): pytest.skip('nothing to prove it with')\n"
SKIPPED_MODULE = "import pytest\npytest.skip('no module', allow_module_level=True)\n"


@pytest.mark.slow
@pytest.mark.parametrize(("required", "failures"), [("0", 0), ("1", 2)])
def test_a_skip_fails_where_everything_is_required(
    tmp_path: Path, required: str, failures: int
) -> None:
    """A skipped test and a skipped module pass by default, and fail with KEYSTEAD_REQUIRE_ALL=1."""
    (tmp_path / "test_one.py").write_text(SKIPPED_TEST)
    (tmp_path / "test_two.py").write_text(SKIPPED_MODULE)
    options = ("-p", "tests.conftest", "-p", "no:cacheprovider", "--continue-on-collection-errors")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-c", os.devnull, tmp_path],
        cwd=ROOT,
        env=os.environ | {"KEYSTEAD_REQUIRE_ALL": required, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("skipped, though KEYSTEAD_REQUIRE_ALL=1") >= failures
    assert (done.returncode != 0) is (failures > 0)
    assert ("2 skipped" in done.stdout) is (failures == 0)
