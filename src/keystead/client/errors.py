"""The errors of a call.

ClientError
├ Problem             the server refused the request and says why (RFC 9457): one class for each code
│ ├ InvalidRequest · MethodNotAllowed · NotFound · TooLarge · UnsupportedMediaType · HeaderTooLarge
│ ├ Unauthenticated · InvalidToken             the credential is missing, or not valid
│ ├ InsufficientScope · WouldWiden · NotRenewable          the credential does not allow this
│ ├ Conflict
│ │ ├ LimitReached · KeyRevoked · KeyExpired · RotationInProgress
│ │ └ NameTaken · CollectionNotEmpty · IdempotencyInProgress · WebhookDisabled · NotSuspended
│ │   WouldLoosen
│ ├ ChangedMeanwhile                           the version is no longer the one in `if_match`
│ ├ Invalid                                    values were refused, each with its place
│ │ └ InvalidCursor · IdempotencyMismatch · AgainstPolicy
│ ├ RateLimited
│ └ ServerFault                                the server failed
│   └ Internal · Unavailable · OutcomeUnknown · DiskFull
├ Unreachable         no response arrived
├ UnexpectedAnswer    the response is not from Keystead
├ IncompleteExport    the export ended before its end
├ TokenLost           the key was created, but the response with its token did not arrive
├ InvalidValue        a value cannot be sent, such as a time without a zone
├ UnsafeFile          others can read the file of the token
├ RenewalRunning      another process renews the token of the same file
├ UnsafeAddress       the token would travel unencrypted, or the URL is malformed
└ NotAToken           the text given as a token is not one
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from keystead.domain.errors import FieldError

if TYPE_CHECKING:
    from keystead.client.results import Key


class ClientError(Exception):
    """The base class of the SDK's errors."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A problem as received. `extras` are the members that only its code has; `retry_after` is in seconds."""

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
    """A refusal by the server. A code that this version does not know is a plain Problem.

    `code` is stable, such as `limit-reached`; `status` is the HTTP status; `title` is the same for every problem of
    a code; `detail` is a sentence for a person; `type` is the URL of the code's page; `errors` has an entry per
    refused value; `extras` are the members that only this code has; `retry_after` is the wait in seconds that the
    server asks for; `request_id` finds the request in the server's log.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail or refusal.title)
        self.refusal: Final = refusal
        self.code: Final = refusal.code
        self.status: Final = refusal.status
        self.title: Final = refusal.title
        self.detail: Final = refusal.detail
        self.type: Final = refusal.type
        self.errors: Final = refusal.errors
        self.extras: Final = refusal.extras
        self.retry_after: Final = refusal.retry_after
        self.request_id: Final = refusal.request_id

    def __reduce__(self) -> tuple[type[Problem], tuple[Refusal]]:
        return type(self), (self.refusal,)


class InvalidRequest(Problem):
    """The request is malformed."""


class MethodNotAllowed(Problem):
    """The resource does not support this method."""


class NotFound(Problem):
    """The resource does not exist in this workspace."""


class TooLarge(Problem):
    """The body exceeds its maximum size."""


class UnsupportedMediaType(Problem):
    """The call does not accept the body's media type."""


class HeaderTooLarge(Problem):
    """The header fields exceed their maximum size."""


class Unauthenticated(Problem):
    """The request has no credential."""


class InvalidToken(Problem):
    """The credential is malformed, unknown, expired, revoked, suspended, or of another kind; the server hides which."""


class InsufficientScope(Problem):
    """The key is valid, but does not have the scope."""

    @property
    def scope(self) -> str:
        """The missing scope."""
        return str(self.extras.get("scope", ""))


class WouldWiden(Problem):
    """The key would grant more than it has."""


class NotRenewable(Problem):
    """The key may not renew itself, or its successor would not outlive it."""


class Conflict(Problem):
    """The request conflicts with the state of the resource."""


class LimitReached(Conflict):
    """A limit of the plan is reached."""

    @property
    def limit(self) -> int:
        """The number that the plan allows."""
        return int(self.extras["limit"])

    @property
    def used(self) -> int:
        """The number in use."""
        return int(self.extras["used"])

    @property
    def plan(self) -> str:
        """The plan's name."""
        return str(self.extras["plan"])

    @property
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """The keys that are safest to revoke, the safest first. Empty unless the limit is that of keys."""
        return cast("Sequence[Mapping[str, Any]]", self.extras.get("candidates", ()))

    @property
    def plans_url(self) -> str | None:
        """The page with larger plans."""
        return cast("str | None", self.extras.get("plans_url"))


class KeyRevoked(Conflict):
    """The key is revoked, which cannot be undone."""


class KeyExpired(Conflict):
    """The key has expired, which cannot be undone."""


class RotationInProgress(Conflict):
    """The key was already rotated, or its predecessor is still in its overlap."""


class NameTaken(Conflict):
    """The name is already used in the workspace."""


class CollectionNotEmpty(Conflict):
    """The collection contains documents, and the call does not include them."""


class IdempotencyInProgress(Conflict):
    """The first request with this Idempotency-Key has not finished."""


class WebhookDisabled(Conflict):
    """The webhook is disabled, so nothing is sent to it."""


class NotSuspended(Conflict):
    """Only a suspended workspace can be deleted."""


class WouldLoosen(Conflict):
    """The new plans would let workspaces do more than before."""

    @property
    def changes(self) -> Sequence[str]:
        """What they would change, one line for each plan."""
        return cast("Sequence[str]", self.extras["changes"])


class FeedExpired(Problem):
    """Events after that position of the feed were deleted at the end of their retention."""

    @property
    def oldest(self) -> str:
        """The position to continue after: the feed has every event behind it."""
        return str(self.extras["oldest"])


class ChangedMeanwhile(Problem):
    """The resource has changed since the version in `if_match`. Nothing was changed."""


class Invalid(Problem):
    """Values were refused. `errors` says which and why."""


class InvalidCursor(Invalid):
    """The cursor does not belong to this list with these filters."""


class IdempotencyMismatch(Invalid):
    """The Idempotency-Key was used for another request."""


class AgainstPolicy(Invalid):
    """The key would go beyond the workspace's policy."""

    @property
    def pointer(self) -> str:
        """The place of the refused value."""
        return str(self.extras["pointer"])

    @property
    def policy(self) -> Mapping[str, Any]:
        """The effective policy, with the members of the API."""
        return cast("Mapping[str, Any]", self.extras["policy"])


class RateLimited(Problem):
    """The rate limit is exceeded; `retry_after` is the wait in seconds."""


class ServerFault(Problem):
    """The server failed; the request itself may be right."""


class Internal(ServerFault):
    """A bug in the server. Its log has an entry with the `request_id`."""


class Unavailable(ServerFault):
    """The server's database cannot be reached. Nothing was changed."""


class OutcomeUnknown(ServerFault):
    """The server does not know whether the change was made."""


class DiskFull(ServerFault):
    """The server's disk is full. Nothing was changed."""


class Unreachable(ClientError):
    """No response arrived. `sent` is False if the request certainly never left."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class UnexpectedAnswer(ClientError):
    """A response that is not from Keystead, or from a version that this client does not know."""

    def __init__(self, status: int, reason: str = "") -> None:
        because = f": {reason}" if reason else ""
        super().__init__(
            f"The response (status {status}) is not one of Keystead{because}. Is the URL right?"
        )
        self.status = status


class IncompleteExport(ClientError):
    """The server ended an export before its end: it stopped, or the workspace was deleted meanwhile."""

    def __init__(self) -> None:
        super().__init__("The export is incomplete. Export the workspace again.")


class TokenLost(ClientError):
    """The key was created, but the response with its token was lost, and no later response contains it.

    Rotate `key` to get a successor with a token, or revoke it.
    """

    def __init__(self, key: Key) -> None:
        super().__init__(
            f"{key.id} was created, but its token was lost on the way: rotate or revoke the key."
        )
        self.key = key


class InvalidValue(ClientError, ValueError):
    """A value that cannot be sent, such as a time without a zone or text with a lone surrogate."""


class UnsafeAddress(ClientError, ValueError):
    """A URL to which the client does not send a token."""


class UnsafeFile(ClientError, ValueError):
    """A file that others can read, so that it can't hold a token."""


class RenewalRunning(ClientError):
    """Another process renews the token of the same file."""


class NotAToken(ClientError, ValueError):
    """A text that cannot be a token: malformed or incomplete. The message does not contain it."""


def problem_of(refusal: Refusal) -> Problem:
    """Return the error of the refusal's code. The class of `limit-reached` is LimitReached."""
    return _CLASSES.get(refusal.code.title().replace("-", ""), Problem)(refusal)


def _subclasses(root: type[Problem]) -> Iterator[type[Problem]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _subclasses(kind)


_CLASSES: Final = {kind.__name__: kind for kind in _subclasses(Problem)}
