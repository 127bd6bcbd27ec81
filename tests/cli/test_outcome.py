"""The outcomes of commands: an exit code and at most one line."""

from __future__ import annotations

import json

import pytest

from keystead.cli.outcome import Exit, Failure, reported
from keystead.domain.errors import (
    DiskFull,
    InsufficientScope,
    Invalid,
    InvalidToken,
    KeysteadError,
    LimitReached,
    NotFound,
    Unavailable,
)
from keystead.operation.files import ConfigurationError

TOKEN = "ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2aDLy9"
ENDS: list[tuple[BaseException, Exit]] = [
    (NotFound("There is no such key."), Exit.REFUSED),
    (LimitReached("keys", limit=5, used=5, plan="Free"), Exit.REFUSED),
    (Unavailable(), Exit.UNAVAILABLE),
    (DiskFull(), Exit.UNAVAILABLE),
    (InvalidToken(), Exit.DENIED),
    (InsufficientScope("keys:write"), Exit.DENIED),
    (ConfigurationError("The pepper is weak."), Exit.CONFIGURATION),
    (Failure("There is no server.", Exit.UNAVAILABLE), Exit.UNAVAILABLE),
    (KeyError(TOKEN), Exit.BUG),
    (KeyboardInterrupt(), Exit.INTERRUPTED),
]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("error", "code"), ENDS)
def test_an_error_is_one_line_and_a_code(
    error: BaseException, code: Exit, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is on standard error, as text or as one JSON object; an interrupt prints nothing, a bug none of its text."""
    with reported(as_json) as result:
        raise error
    out, err = capsys.readouterr()
    assert (result.code, out) == (code, "")
    assert TOKEN not in err
    assert len(err.splitlines()) == (0 if code is Exit.INTERRUPTED else 1)
    if as_json and err:
        problem = json.loads(err)
        assert {"code", "title", "detail"} <= problem.keys()
        assert not isinstance(error, KeysteadError) or problem["code"] == error.code


def test_a_refusal_is_one_line_with_any_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Line breaks, escapes and tokens in a refusal's text are escaped for the terminal."""
    with reported(False):
        raise NotFound(f"There is no\n\x1b[31m{TOKEN}")
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "\x1b" not in message
    assert TOKEN not in message


@pytest.mark.parametrize(
    ("pointer", "detail", "sentence"),
    [
        ("/description", "must be 1-200 characters", "Description must be 1-200 characters."),
        ("/expires_at", "must be later than now", "Expiry must be later than now."),
        ("/scopes/1", "is not a known scope", "Scope 2 is not a known scope."),
        ("/headers/X-Source", "is too long", "Header X-Source is too long."),
        ("plans[1].id", "is missing", "plans[1].id is missing."),
        ("query:type", "Input should be 'key.created'", "type: Input should be 'key.created'."),
        (
            "/plans/0/price",
            "Extra inputs are not permitted",
            "Plan 1 price: Extra inputs are not permitted.",
        ),
    ],
)
def test_a_refused_value_is_named_in_words(
    pointer: str, detail: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user reads which field is wrong; the pointer is for programs and stays in the JSON."""
    with reported(as_json=False) as result:
        raise Invalid.field(pointer, detail)
    assert (result.code, capsys.readouterr().err) == (Exit.REFUSED, f"keystead: {sentence}\n")
