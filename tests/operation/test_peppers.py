"""Peppers: one private file, created once; any other file is refused, without showing its content."""

from __future__ import annotations

import base64
import stat
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from keystead.operation.files import ConfigurationError
from keystead.operation.peppers import make_peppers, parse_peppers, read_peppers
from tests.support.processes import together

KEY = bytes(range(7, 39))
ENCODED = base64.b64encode(KEY).decode()


def test_a_created_pepper_is_private_and_stays(tmp_path: Path) -> None:
    """The file has mode 0600, contains one pepper of 32 bytes, and is never created a second time."""
    path = tmp_path / "peppers"
    peppers = make_peppers(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.urlsafe_b64decode(path.read_text().partition(":")[2])) == 32
    assert make_peppers(path).ids == peppers.ids
    assert [entry.name for entry in tmp_path.iterdir()] == ["peppers"]


def test_concurrent_processes_create_one_pepper(tmp_path: Path) -> None:
    """Eight processes that create the file at the same moment all read the same pepper."""
    assert together(_begin, *[(str(tmp_path), n) for n in range(8)]) == [0] * 8
    assert len({(tmp_path / f"seen-{n}").read_text() for n in range(8)}) == 1


def _begin(gate: Barrier, folder: str, number: int) -> None:
    gate.wait(30)
    seen = make_peppers(Path(folder) / "peppers")
    (Path(folder) / f"seen-{number}").write_text(seen.current.id)


def test_the_first_pepper_is_current_and_the_others_stand(tmp_path: Path) -> None:
    """A file lists the current pepper first, then retired ones; blank lines and comments are ignored."""
    path = tmp_path / "peppers"
    path.write_text(f"# rotated in May\nnew:{ENCODED}\n\nold:{ENCODED}\n")
    path.chmod(0o600)
    peppers = read_peppers(path)
    assert peppers is not None
    assert (peppers.current.id, peppers.ids) == ("new", frozenset({"new", "old"}))


def test_both_alphabets_of_base64_are_read() -> None:
    """A pepper is the same in either alphabet."""
    key = bytes(range(200, 232))
    standard, urlsafe = base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()
    assert standard != urlsafe
    texts = [
        parse_peppers([f"p1:{text}"], "it").current.digest(b"x") for text in (standard, urlsafe)
    ]
    assert texts[0] == texts[1]


def test_an_absent_file_is_no_pepper(tmp_path: Path) -> None:
    """Without a file there is no pepper, and reading creates none."""
    assert read_peppers(tmp_path / "peppers") is None
    assert not list(tmp_path.iterdir())


WRONG = [
    "",
    "p1",
    f"p1:{ENCODED[:-8]}",
    "p1:" + base64.b64encode(bytes(32)).decode(),
    f"p1:{ENCODED[:-1]}!",
    f"P1:{ENCODED}",
    f":{ENCODED}",
    f"p1:{ENCODED},p1:{ENCODED}",
    f"p1:{ENCODED},",
    f"p1:{ENCODED}:x",
    f"p\u00e9:{ENCODED}",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_pepper_is_refused_and_not_repeated(text: str) -> None:
    """Malformed, weak and duplicate peppers are refused, with a message that contains nothing of them."""
    with pytest.raises(ConfigurationError) as refused:
        parse_peppers(text.split(","), "KEYSTEAD_PEPPERS")
    message = str(refused.value)
    assert message.startswith("KEYSTEAD_PEPPERS")
    assert ENCODED[:12] not in message
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777])
def test_a_pepper_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """Any permission of the group or of others is refused; the message explains the fix."""
    path = tmp_path / "peppers"
    make_peppers(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"run: chmod 0[67]00 "):
        read_peppers(path)
