"""What a call may end in other than its result.

ClientError
├ Problem             the server understood and refused; it says why (RFC 9457): one class for each code
│ ├ InvalidRequest · MethodNotAllowed · NotFound · TooLarge · UnsupportedMediaType · HeaderTooLarge
│ ├ Unauthenticated · InvalidToken             the credential is missing, or does not stand
│ ├ InsufficientScope · WouldWiden             it stands, and may not do this
│ ├ Conflict
│ │ ├ LimitReached · KeyRevoked · KeyExpired · RotationInProgress
│ │ └ NameTaken · CollectionNotEmpty · IdempotencyInProgress · WebhookDisabled
│ ├ ChangedMeanwhile                           it is no longer the version that `if_match` names
│ ├ Invalid                                    values were refused, each with its place
│ │ └ InvalidCursor · IdempotencyMismatch
│ ├ RateLimited
│ └ ServerFault                                the server did not do its part
│   └ Internal · Unavailable · OutcomeUnknown · DiskFull
├ Unreachable         no answer came
├ UnexpectedAnswer    an answer came, but not one of Keystead
├ TokenLost           the key was made, and the answer with its token did not arrive
├ InvalidValue        a value cannot be sent: a time without a zone, half a character
├ UnsafeAddress       the token would travel in the clear, or the URL is none
└ NotAToken           what was given as a token cannot be one
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from keystead.domain.errors import FieldError

if TYPE_CHECKING:
    from keystead.client.results import Key


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
    extras: Mapping[str, Any] = field(default_factory=dict)
    retry_after: float | None = None
    request_id: str | None = None
    type: str = "about:blank"


class Problem(ClientError):
    """The server refused. `code` is stable and has a page at `type`; the sentence is for a person."""

    known_as: ClassVar[str] = ""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail or refusal.title)
        self.refusal = refusal

    def __reduce__(self) -> tuple[type[Problem], tuple[Refusal]]:
        return type(self), (self.refusal,)

    @property
    def code(self) -> str:
        """The problem's code, such as `limit-reached`."""
        return self.refusal.code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.refusal.status

    @property
    def title(self) -> str:
        """What every problem of this code is called."""
        return self.refusal.title

    @property
    def detail(self) -> str:
        """What happened this time, for a person."""
        return self.refusal.detail

    @property
    def type(self) -> str:
        """The URL of the problem's page."""
        return self.refusal.type

    @property
    def errors(self) -> Sequence[FieldError]:
        """One entry per refused value."""
        return self.refusal.errors

    @property
    def extras(self) -> Mapping[str, Any]:
        """The members that only problems of this code have."""
        return self.refusal.extras

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server wants to be asked again."""
        return self.refusal.retry_after

    @property
    def request_id(self) -> str | None:
        """What finds the request in the server's log."""
        return self.refusal.request_id


class InvalidRequest(Problem):
    """The request cannot be understood."""

    known_as = "invalid-request"


class MethodNotAllowed(Problem):
    """The resource does not take this method."""

    known_as = "method-not-allowed"


class NotFound(Problem):
    """Nothing of that name here; the same for what belongs to another workspace."""

    known_as = "not-found"


class TooLarge(Problem):
    """The body is over its bound."""

    known_as = "too-large"


class UnsupportedMediaType(Problem):
    """The body is not of the type that the call takes."""

    known_as = "unsupported-media-type"


class HeaderTooLarge(Problem):
    """The header fields are over their bound."""

    known_as = "header-too-large"


class Unauthenticated(Problem):
    """No credential arrived."""

    known_as = "unauthenticated"


class InvalidToken(Problem):
    """The credential is malformed, unknown, expired, revoked, suspended, or one for other calls: never told which."""

    known_as = "invalid-token"


class InsufficientScope(Problem):
    """The key lives, and lacks a scope."""

    known_as = "insufficient-scope"

    @property
    def scope(self) -> str:
        """The scope that is missing."""
        return str(self.extras.get("scope", ""))


class WouldWiden(Problem):
    """A key hands out no more than it holds."""

    known_as = "would-widen"


class Conflict(Problem):
    """The request is fine; the state of things is not."""


class LimitReached(Conflict):
    """A limit of the plan is full."""

    known_as = "limit-reached"

    @property
    def limit(self) -> int:
        """How many the plan allows."""
        return int(self.extras["limit"])

    @property
    def used(self) -> int:
        """How many there are."""
        return int(self.extras["used"])

    @property
    def plan(self) -> str:
        """The plan's name."""
        return str(self.extras["plan"])

    @property
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """The keys that cost least to revoke, the cheapest first; empty where it is not about keys."""
        return cast("Sequence[Mapping[str, Any]]", self.extras.get("candidates", ()))

    @property
    def plans_url(self) -> str | None:
        """Where larger plans are."""
        return cast("str | None", self.extras.get("plans_url"))


class KeyRevoked(Conflict):
    """Revocation is final."""

    known_as = "key-revoked"


class KeyExpired(Conflict):
    """Expiry is final."""

    known_as = "key-expired"


class RotationInProgress(Conflict):
    """The key was rotated already, or its predecessor is still in its overlap."""

    known_as = "rotation-in-progress"


class NameTaken(Conflict):
    """Names are unique within a workspace."""

    known_as = "name-taken"


class CollectionNotEmpty(Conflict):
    """A collection with documents is deleted only when its documents are named too."""

    known_as = "collection-not-empty"


class IdempotencyInProgress(Conflict):
    """The first request with this Idempotency-Key has not ended yet."""

    known_as = "idempotency-in-progress"


class WebhookDisabled(Conflict):
    """Nothing is sent to a webhook that is disabled."""

    known_as = "webhook-disabled"


class ChangedMeanwhile(Problem):
    """The resource has changed since the version that `if_match` names. Nothing was done."""

    known_as = "changed-meanwhile"


class Invalid(Problem):
    """Values were refused; `errors` says which and why."""

    known_as = "invalid"


class InvalidCursor(Invalid):
    """The cursor is not one of this list with these filters."""

    known_as = "invalid-cursor"


class IdempotencyMismatch(Invalid):
    """The Idempotency-Key was used for another request."""

    known_as = "idempotency-mismatch"


class RateLimited(Problem):
    """Too fast; `retry_after` says when again."""

    known_as = "rate-limited"


class ServerFault(Problem):
    """The server did not do its part; the caller is not to blame."""


class Internal(ServerFault):
    """Something went wrong in the server; its log has the request's id."""

    known_as = "internal"


class Unavailable(ServerFault):
    """The server's database is away. Nothing was done."""

    known_as = "unavailable"


class OutcomeUnknown(ServerFault):
    """The change was made, or it was not."""

    known_as = "outcome-unknown"


class DiskFull(ServerFault):
    """The server has no room. Nothing was done."""

    known_as = "disk-full"


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


class TokenLost(ClientError):
    """The key was made, but the answer that held its token was lost on the way, and no other ever holds it.

    Rotate `key` for a successor whose token arrives, or revoke it.
    """

    def __init__(self, key: Key) -> None:
        super().__init__(
            f"{key.id} was made, but its token was lost on the way: rotate or revoke it."
        )
        self.key = key


class InvalidValue(ClientError, ValueError):
    """A value that cannot be sent, such as a time without a zone or text with a lone surrogate. Nothing was sent."""


class UnsafeAddress(ClientError, ValueError):
    """A URL that a token must not be sent to."""


class NotAToken(ClientError, ValueError):
    """A text that cannot be a token: wrong form, or a character lost on the way. The text itself is not told."""


def problem_of(refusal: Refusal) -> Problem:
    """The refusal as the error of its code; a plain Problem for a code of later versions."""
    return _KINDS.get(refusal.code, Problem)(refusal)


def _kinds(root: type[Problem]) -> Iterator[tuple[str, type[Problem]]]:
    for kind in root.__subclasses__():
        if kind.known_as:
            yield kind.known_as, kind
        yield from _kinds(kind)


_KINDS: Final = dict(_kinds(Problem))
