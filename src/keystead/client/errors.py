"""What a call may end in other than its result.

ClientError
├ Problem           the server understood and refused; it says why (RFC 9457)
├ Unreachable       no answer came
├ UnexpectedAnswer  an answer came, but not one of Keystead
├ UnsafeAddress     the token would travel in the clear, or the URL is none
└ NotAToken         what was given as a token cannot be one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keystead.domain.errors import FieldError


class ClientError(Exception):
    """The root."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A problem as it stood on the wire. `extras` are the members that its code adds; `retry_after` is in seconds."""

    status: int
    code: str
    title: str
    detail: str
    errors: Sequence[FieldError] = ()
    extras: Mapping[str, object] | None = None
    retry_after: float | None = None
    request_id: str | None = None


class Problem(ClientError):
    """The server refused. `code` is stable and has a page of documentation; the sentence is for a person."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail or refusal.title)
        self.refusal = refusal

    @property
    def code(self) -> str:
        """The problem's code, such as `limit-reached`."""
        return self.refusal.code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.refusal.status

    @property
    def errors(self) -> Sequence[FieldError]:
        """One entry per refused value."""
        return self.refusal.errors


class Unreachable(ClientError):
    """No answer. `sent` is False where the request certainly never left."""

    def __init__(self, sentence: str, *, sent: bool) -> None:
        super().__init__(sentence)
        self.sent = sent


class UnexpectedAnswer(ClientError):
    """Something answered that is not Keystead, or not a version of it that this client knows."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The answer (status {status}) is not one of Keystead. Is the URL right?")
        self.status = status


class UnsafeAddress(ClientError, ValueError):
    """A URL that a token must not be sent to."""


class NotAToken(ClientError, ValueError):
    """A text that cannot be a token: wrong form, or a character lost on the way. The text itself is not told."""
