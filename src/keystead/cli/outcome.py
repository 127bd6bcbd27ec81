"""How a command ends: exit codes (those of sysexits.h where it has one), and errors in one line each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

from keystead.domain.errors import (
    InsufficientScope,
    InvalidToken,
    KeysteadError,
    StorageError,
    Unauthenticated,
)
from keystead.http.redaction import one_line
from keystead.operation.files import ConfigurationError

LINE_LENGTH = 1_000


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 69
    BUG = 70
    DENIED = 77
    CONFIGURATION = 78
    INTERRUPTED = 130
    CLOSED_PIPE = 141


class Failure(Exception):
    """A command's own failure, in one line, with its exit code; `said` is what its JSON holds besides."""

    def __init__(
        self, detail: str, code: Exit = Exit.REFUSED, said: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.said = said or {}


@dataclass
class Result:
    """The exit code of a command that ran."""

    code: int = Exit.DONE


@contextmanager
def reported(as_json: bool) -> Iterator[Result]:
    """Turns every way a command can end into an exit code, and an error into one line on stderr."""
    result = Result()
    try:
        yield result
        sys.stdout.flush()
    except KeysteadError as error:
        says = {"code": error.code, "title": error.title, "detail": error.detail, **error.extras()}
        result.code = _report(says, exit_of(error), as_json)
    except ConfigurationError as error:
        says = {"code": "configuration", "title": "Wrong configuration", "detail": str(error)}
        result.code = _report(says, Exit.CONFIGURATION, as_json)
    except Failure as failure:
        says = {"code": "failed", "title": "The command failed", "detail": failure.detail}
        says |= failure.said
        result.code = _report(says, failure.code, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        result.code = Exit.CLOSED_PIPE
    except KeyboardInterrupt:
        result.code = Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a message may quote what was typed: only type and place are told
        result.code = _report(_bug(error), Exit.BUG, as_json)


def exit_of(error: KeysteadError) -> Exit:
    """The exit code of a refusal."""
    match error:
        case StorageError():
            return Exit.UNAVAILABLE
        case Unauthenticated() | InvalidToken() | InsufficientScope():
            return Exit.DENIED
        case _:
            return Exit.REFUSED


def _report(says: Mapping[str, object], code: Exit, as_json: bool) -> Exit:
    line = (
        json.dumps(says) if as_json else f"keystead: {one_line(str(says['detail']), LINE_LENGTH)}"
    )
    sys.stderr.write(line + "\n")
    return code


def _bug(error: Exception) -> Mapping[str, object]:
    from keystead.http.redaction import places, type_names

    detail = f"A bug: {' < '.join(type_names(error))}, at {'; '.join(places(error)[-3:])}"
    return {"code": "bug", "title": "This is a bug in Keystead", "detail": detail}
