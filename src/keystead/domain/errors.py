"""The refusals of use cases, each with a code and a title. `http.problems` maps the codes to statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from keystead.domain.rate_limits import RateExceeded

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One refused value: `pointer` is a JSON pointer into the body (RFC 6901), or a parameter's name.

    `id` is the document's, for a value in a batch of documents.
    """

    pointer: str
    detail: str
    id: str | None = None

    def __str__(self) -> str:
        return f"{self.pointer}{f' ({self.id})' if self.id else ''}: {self.detail}"

    def members(self) -> Mapping[str, str]:
        """Return the entry as members of a JSON object."""
        members = {"pointer": self.pointer, "detail": self.detail}
        return members if self.id is None else members | {"id": self.id}


class KeysteadError(Exception):
    """The base class. `code` is stable and has a page of documentation; `detail` is a sentence for people."""

    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title

    def extras(self) -> Mapping[str, object]:
        """Return further members of the problem (RFC 9457 section 3.2) as JSON values."""
        return {}


class InvalidRequest(KeysteadError):
    """The request cannot be understood."""

    code = "invalid-request"
    title = "The request cannot be understood"


class Unauthenticated(KeysteadError):
    """The request carries no credentials."""

    code = "unauthenticated"
    title = "This needs an API key"


class SessionEnded(Unauthenticated):
    """The session has ended or never existed."""

    def __init__(self) -> None:
        super().__init__("The session has ended; sign in again.")


class InvalidToken(KeysteadError):
    """The same answer for every refused token, whatever the reason (RFC 6750 section 3.1)."""

    code = "invalid-token"
    title = "The token is not valid"


class InsufficientScope(KeysteadError):
    """The key is active but lacks the required scope."""

    code = "insufficient-scope"
    title = "The key lacks a scope"

    def __init__(self, scope: str, detail: str = "") -> None:
        super().__init__(detail or f"This needs the scope {scope}.")
        self.scope = scope

    def extras(self) -> Mapping[str, object]:
        """Return the missing scope."""
        return {"scope": self.scope}


class Forbidden(InsufficientScope):
    """The member's role doesn't allow it."""


class ReauthenticationRequired(Forbidden):
    """The member must sign in again first; `return_url` is where a product sends its own user to do it."""

    def __init__(self, scope: str, return_url: str | None = None) -> None:
        action = "Come back from the product" if return_url else "Sign in"
        super().__init__(scope, f"{action} again to continue: this needs a recent sign-in.")
        self.return_url = return_url

    def extras(self) -> Mapping[str, object]:
        """Return where a product's own user signs in again; null for all others."""
        return {**super().extras(), "return_url": self.return_url}


class WouldWiden(KeysteadError):
    """A key would create, change or rotate a key beyond its own scopes and expiry."""

    code = "would-widen"
    title = "That would grant more than the caller has"


class NotRenewable(KeysteadError):
    """The key may not renew itself, or its successor would not outlive it."""

    code = "not-renewable"
    title = "The key can't renew itself"


class NotFound(KeysteadError):
    """Nothing of that name exists in this workspace. Another workspace's resources get the same answer."""

    code = "not-found"
    title = "Not found"

    @classmethod
    def unless(cls, value: T | None, noun: str) -> T:
        """Return `value`. Raise NotFound if it is None; `noun` names it in the message."""
        if value is None:
            raise cls(f"There is no such {noun}.")
        return value


class Conflict(KeysteadError):
    """The request is valid, but the resource's state doesn't allow it."""


class LimitReached(Conflict):
    """A limit of the plan is reached. `candidates` are the keys that are safest to revoke, as JSON values.

    `name` is the limit's name, `what` its label.
    """

    code = "limit-reached"
    title = "The plan's limit is reached"

    def __init__(
        self,
        what: str,
        *,
        limit: int,
        used: int,
        plan: str,
        name: str = "",
        candidates: Sequence[Mapping[str, object]] = (),
        plans_url: str | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(detail or f"The plan {plan} allows {limit} {what}; {used} are in use.")
        self.what, self.limit, self.used, self.plan = what, limit, used, plan
        self.candidates, self.plans_url, self.name = tuple(candidates), plans_url, name

    def extras(self) -> Mapping[str, object]:
        """Return the limit, its use, the plan, candidates to revoke, and where to change the plan."""
        return {
            "limit": self.limit,
            "used": self.used,
            "plan": self.plan,
            "candidates": list(self.candidates),
            "plans_url": self.plans_url,
        }


class KeyRevoked(Conflict):
    """The key was revoked, which is final."""

    code = "key-revoked"
    title = "The key is revoked"


class KeyExpired(Conflict):
    """The key has expired, which is final."""

    code = "key-expired"
    title = "The key has expired"


class RotationInProgress(Conflict):
    """The key was rotated already, or its predecessor is still in its overlap."""

    code = "rotation-in-progress"
    title = "A rotation is in progress"


class NameTaken(Conflict):
    """Names are unique within a workspace."""

    code = "name-taken"
    title = "The name is taken"


class EmailTaken(NameTaken):
    """Another user of the installation signs in with this email."""


class CollectionNotEmpty(Conflict):
    """Deleting a collection with documents needs an explicit request to delete them too."""

    code = "collection-not-empty"
    title = "The collection contains documents"


class IdempotencyInProgress(Conflict):
    """The first request with this Idempotency-Key is still running."""

    code = "idempotency-in-progress"
    title = "The same request is still in progress"


class WebhookDisabled(Conflict):
    """The webhook is disabled, so nothing is sent to it."""

    code = "webhook-disabled"
    title = "The webhook is disabled"


class NotSuspended(Conflict):
    """Only a suspended workspace can be deleted."""

    code = "not-suspended"
    title = "The workspace is not suspended"


class FeedExpired(KeysteadError):
    """Events after that position of the feed were deleted at the end of their retention."""

    code = "feed-expired"
    title = "The feed no longer has these events"

    def __init__(self, oldest: str) -> None:
        super().__init__(
            "Events after this position are past their retention. Continue after `oldest`."
        )
        self.oldest = oldest

    def extras(self) -> Mapping[str, object]:
        """Return the position to continue after: everything behind it is still there."""
        return {"oldest": self.oldest}


class WouldLoosen(Conflict):
    """New plans would let workspaces do more than before, which needs an explicit request. `changes`: one line each."""

    code = "would-loosen"
    title = "Limits would be loosened"

    def __init__(self, changes: Sequence[str] = ()) -> None:
        super().__init__("This removes a plan or raises a limit. Confirm it to apply it.")
        self.changes = tuple(changes)

    def extras(self) -> Mapping[str, object]:
        """Return the changes."""
        return {"changes": list(self.changes)}


class ChangedMeanwhile(KeysteadError):
    """The resource has another version than the change was made for."""

    code = "changed-meanwhile"
    title = "The resource has changed in the meantime"


class TooLarge(KeysteadError):
    """The body is over its limit."""

    code = "too-large"
    title = "The request is too large"


class UnsupportedMediaType(KeysteadError):
    """The body has another media type than the call takes."""

    code = "unsupported-media-type"
    title = "The body's media type is not supported"


class Invalid(KeysteadError):
    """The request is understood but has invalid values, with one entry per field."""

    code = "invalid"
    title = "The request contains invalid values"

    def __init__(self, errors: Sequence[FieldError] = (), detail: str = "") -> None:
        super().__init__(detail or "; ".join(map(str, errors)))
        self.errors = tuple(errors)

    @classmethod
    def field(cls, pointer: str, detail: str) -> Invalid:
        """Return the error for one refused field."""
        return cls([FieldError(pointer, detail)])

    def extras(self) -> Mapping[str, object]:
        """Return one entry per refused field."""
        return {"errors": [error.members() for error in self.errors]}


class InvalidCursor(Invalid):
    """The cursor is malformed, or belongs to another list or other filters."""

    code = "invalid-cursor"
    title = "The cursor is not valid for this list"


class LastOwner(Invalid):
    """The last owner of a workspace can neither leave nor get another role."""

    def __init__(self) -> None:
        super().__init__([FieldError("/role", "must stay owner: a workspace needs at least one")])


class IdempotencyMismatch(Invalid):
    """The same Idempotency-Key was sent with another request."""

    code = "idempotency-mismatch"
    title = "The Idempotency-Key was used for another request"


class AgainstPolicy(Invalid):
    """A key would go beyond the workspace's policy. `policy` is the effective one, as JSON values."""

    code = "against-policy"
    title = "The workspace's policy does not allow this"

    def __init__(self, pointer: str, detail: str, policy: Mapping[str, object]) -> None:
        super().__init__([FieldError(pointer, detail)])
        self.pointer, self.policy = pointer, policy

    def extras(self) -> Mapping[str, object]:
        """Return the refused value's place, and the policy."""
        return {**super().extras(), "pointer": self.pointer, "policy": self.policy}


class RateLimited(KeysteadError):
    """Too many requests. `retry_after` in whole seconds; `exceeded`: the rate limit of a key or workspace."""

    code = "rate-limited"
    title = "Too many requests"

    def __init__(
        self, retry_after: int, detail: str = "", exceeded: RateExceeded | None = None
    ) -> None:
        super().__init__(detail)
        self.retry_after, self.exceeded = retry_after, exceeded


class StorageError(KeysteadError):
    """The database failed; the request is not at fault."""


class Unavailable(StorageError):
    """The database is unreachable, too busy or read-only. Nothing was changed."""

    code = "unavailable"
    title = "The service is not available right now"


class ServerUnreachable(Unavailable):
    """An application that asks a Keystead server cannot reach it."""

    def __init__(self) -> None:
        super().__init__("The server that verifies keys cannot be reached. Try again.")


class OutcomeUnknown(StorageError):
    """The commit's answer was lost, so the change may or may not have been made."""

    code = "outcome-unknown"
    title = "It is not known whether the change was made"


class DiskFull(StorageError):
    """The database's disk is full. Nothing was changed."""

    code = "disk-full"
    title = "The database's disk is full"
