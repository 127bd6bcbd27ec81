"""The end of a command: its exit code (from sysexits.h if that has one), and its errors in one line each."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from keystead.domain.errors import (
    InsufficientScope,
    Invalid,
    InvalidToken,
    KeysteadError,
    StorageError,
    Unauthenticated,
)
from keystead.extras import missing
from keystead.http.redaction import one_line
from keystead.operation.files import ConfigurationError

LINE_LENGTH: Final = 1_000
PR_SET_DUMPABLE: Final = 4
_WORDS: Final = {"expires_at": "expiry", "per_minute": "rate limit", "url": "URL"}


class Exit(IntEnum):
    """The exit codes of all commands."""

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
    """A failed command: one line for people, an exit code, and further members of its JSON."""

    def __init__(
        self, detail: str, code: Exit = Exit.REFUSED, members: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.members = members or {}


@dataclass
class Result:
    """The exit code of a command that ran."""

    code: int = Exit.DONE


@contextmanager
def reported(as_json: bool) -> Iterator[Result]:
    """Turn every end of a command into an exit code, and an error into one line on standard error."""
    result = Result()
    try:
        yield result
        sys.stdout.flush()
    except KeysteadError as error:
        members = {"code": error.code, "title": error.title, "detail": error.detail}
        pairs = [(e.pointer, e.detail) for e in getattr(error, "errors", ())]
        line = in_words(pairs) if isinstance(error, Invalid) and pairs else error.detail
        result.code = _report({**members, **error.extras()}, exit_of(error), as_json, line)
    except ConfigurationError as error:
        members = {"code": "configuration", "title": "Wrong configuration", "detail": str(error)}
        result.code = _report(members, Exit.CONFIGURATION, as_json)
    except Failure as failure:
        members = {"code": "failed", "title": "The command failed", "detail": failure.detail}
        result.code = _report({**members, **failure.members}, failure.code, as_json, failure.detail)
    except ModuleNotFoundError as error:
        if detail := missing(error, "This command", "server"):
            members = {"code": "configuration", "title": "Not installed", "detail": detail}
            result.code = _report(members, Exit.CONFIGURATION, as_json)
        else:
            result.code = _report(_bug(error), Exit.BUG, as_json)
    except BrokenPipeError:
        # Python would flush standard output once more at exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        result.code = Exit.CLOSED_PIPE
    except KeyboardInterrupt:
        result.code = Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a message may quote user input: only report type and place
        result.code = _report(_bug(error), Exit.BUG, as_json)


def exit_of(error: KeysteadError) -> Exit:
    """Return the exit code of an error."""
    match error:
        case StorageError():
            return Exit.UNAVAILABLE
        case Unauthenticated() | InvalidToken() | InsufficientScope():
            return Exit.DENIED
        case _:
            return Exit.REFUSED


def in_words(errors: Iterable[tuple[str, str]]) -> str:
    """Return the errors of refused values, pairs of pointer and detail, as sentences that name the fields."""
    return " ".join(f"{_field_error(pointer, detail).rstrip('.')}." for pointer, detail in errors)


def _field_error(pointer: str, detail: str) -> str:
    name = _name_of(pointer)
    # A whole sentence, of the library that checks types, follows the name of its field.
    return f"{name}: {detail}" if detail[:1].isupper() else f"{name} {detail}"


def _name_of(pointer: str) -> str:
    parameter = pointer.removeprefix("query:").removeprefix("path:")
    if not parameter:
        return "The request"
    if not parameter.startswith("/"):
        return parameter
    field, *inner = (_WORDS.get(part, part.replace("_", " ")) for part in parameter[1:].split("/"))
    # "/scopes/0" is the first scope, "/headers/X-Source" the header X-Source.
    inner = [str(int(part) + 1) if part.isdecimal() else part for part in inner]
    words = " ".join([field.removesuffix("s") if inner else field, *inner])
    return f"{words[:1].upper()}{words[1:]}"


def forbid_core_dumps() -> None:
    """Forbid core dumps of this process, which would be files that contain its tokens."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # A dump handler may ignore the limit (core(5)), but not this.
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _report(members: Mapping[str, object], code: Exit, as_json: bool, detail: str = "") -> Exit:
    line = one_line(detail or str(members["detail"]), LINE_LENGTH)
    sys.stderr.write(f"{json.dumps(members) if as_json else f'keystead: {line}'}\n")
    return code


def _bug(error: Exception) -> Mapping[str, object]:
    from keystead.http.redaction import places, type_names

    detail = f"A bug: {' < '.join(type_names(error))}, at {'; '.join(places(error)[-3:])}"
    return {"code": "bug", "title": "This is a bug in Keystead", "detail": detail}
