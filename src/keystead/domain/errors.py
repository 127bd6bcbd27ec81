"""Every refusal of a use case, as one tree: a code and a title each; what HTTP makes of them stands elsewhere.

KeysteadError
├ InvalidRequest            the request cannot be understood
├ Unauthenticated           no credentials
│ └ SessionEnded            a session that has ended, or never was
├ InvalidToken              credentials that do not stand (malformed, unknown, expired, revoked, suspended)
├ InsufficientScope         a live key without the needed scope
│ └ Forbidden               a member whose role does not allow it
│   └ ReauthenticationRequired  a member who has to sign in again first
├ WouldWiden                a key may not hand out more than it holds
├ NotFound                  nothing of that name in this workspace
├ Conflict
│ ├ LimitReached · KeyRevoked · KeyExpired · RotationInProgress
│ ├ NameTaken (EmailTaken) · CollectionNotEmpty · IdempotencyInProgress
│ └ WebhookDisabled
├ ChangedMeanwhile          the change was made for another version
├ TooLarge · UnsupportedMediaType
├ Invalid                   understood and refused, with one entry per field
│ └ InvalidCursor · IdempotencyMismatch · LastOwner
├ RateLimited
└ StorageError
  └ Unavailable · OutcomeUnknown · DiskFull
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.domain.rate_limits import RateExceeded


@dataclass(frozen=True, slots=True)
class FieldError:
    """One refused value: `pointer` is a JSON pointer into the body (RFC 6901), or a parameter's name.

    `id` is that of the document, for a value in a batch of documents.
    """

    pointer: str
    detail: str
    id: str | None = None

    def __str__(self) -> str:
        return f"{self.pointer}{f' ({self.id})' if self.id else ''}: {self.detail}"

    def members(self) -> Mapping[str, str]:
        """Return the entry as JSON members."""
        members = {"pointer": self.pointer, "detail": self.detail}
        return members if self.id is None else members | {"id": self.id}


class KeysteadError(Exception):
    """The root. `code` is stable and has a page of documentation; `detail` is for a person."""

    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title

    def extras(self) -> Mapping[str, object]:
        """Further members of the problem (RFC 9457 section 3.2), plain JSON values."""
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
    """The session has ended, or there never was one."""

    def __init__(self) -> None:
        super().__init__("The session has ended; sign in again.")


class InvalidToken(KeysteadError):
    """The one answer to every token that does not stand, whatever the reason (RFC 6750 section 3.1)."""

    code = "invalid-token"
    title = "The token is not valid"


class InsufficientScope(KeysteadError):
    """The key lives, but does not hold the scope that is needed."""

    code = "insufficient-scope"
    title = "The key lacks a scope"

    def __init__(self, scope: str, detail: str = "") -> None:
        super().__init__(detail or f"This needs the scope {scope}.")
        self.scope = scope

    def extras(self) -> Mapping[str, object]:
        """The scope that is missing."""
        return {"scope": self.scope}


class Forbidden(InsufficientScope):
    """The member's role does not allow it."""


class ReauthenticationRequired(Forbidden):
    """The member's proof of who they are is too old for this; `return_url` is where a product's own user proves it."""

    def __init__(self, scope: str, return_url: str | None = None) -> None:
        way = "Come back from the product" if return_url else "Sign in"
        super().__init__(
            scope, f"{way} again before you do this: it needs a recent proof that it is you."
        )
        self.return_url = return_url

    def extras(self) -> Mapping[str, object]:
        """Where a product's own user proves who they are; null for everybody else."""
        return {**super().extras(), "return_url": self.return_url}


class WouldWiden(KeysteadError):
    """A key may not make, change or rotate a key beyond its own scopes and expiry."""

    code = "would-widen"
    title = "That would be more than the caller holds"


class NotFound(KeysteadError):
    """Nothing of that name here; the same for what belongs to another workspace."""

    code = "not-found"
    title = "Not found"


class Conflict(KeysteadError):
    """The request is fine; the state of things is not."""


class LimitReached(Conflict):
    """A limit of the plan is full. `candidates` are the keys that cost least to revoke, as JSON values.

    `name` is the limit's own, `what` says in words what it counts.
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
        """What the caller needs to choose: the limit, its use, the plan, candidates, where plans are."""
        return {
            "limit": self.limit,
            "used": self.used,
            "plan": self.plan,
            "candidates": list(self.candidates),
            "plans_url": self.plans_url,
        }


class KeyRevoked(Conflict):
    """Revocation is final."""

    code = "key-revoked"
    title = "The key is revoked"


class KeyExpired(Conflict):
    """Expiry is final."""

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
    """An e-mail address signs in one person of the whole installation."""


class CollectionNotEmpty(Conflict):
    """A collection with documents is deleted only when its documents are named too."""

    code = "collection-not-empty"
    title = "The collection holds documents"


class IdempotencyInProgress(Conflict):
    """The first request with this Idempotency-Key has not ended yet."""

    code = "idempotency-in-progress"
    title = "The same request is still in progress"


class WebhookDisabled(Conflict):
    """Nothing is sent to a webhook that is disabled."""

    code = "webhook-disabled"
    title = "The webhook is disabled"


class ChangedMeanwhile(KeysteadError):
    """The resource is no longer the version that the change was made for."""

    code = "changed-meanwhile"
    title = "The resource has changed in the meantime"


class TooLarge(KeysteadError):
    """The body is over its bound."""

    code = "too-large"
    title = "The request is too large"


class UnsupportedMediaType(KeysteadError):
    """The body is not of the type this call takes."""

    code = "unsupported-media-type"
    title = "The body's media type is not supported"


class Invalid(KeysteadError):
    """Understood and refused, with one entry per field."""

    code = "invalid"
    title = "The request holds invalid values"

    def __init__(self, errors: Sequence[FieldError] = (), detail: str = "") -> None:
        super().__init__(detail or "; ".join(map(str, errors)))
        self.errors = tuple(errors)

    @classmethod
    def field(cls, pointer: str, detail: str) -> Invalid:
        """One refused field."""
        return cls([FieldError(pointer, detail)])

    def extras(self) -> Mapping[str, object]:
        """One entry per refused field."""
        return {"errors": [error.members() for error in self.errors]}


class InvalidCursor(Invalid):
    """The cursor is not one of this list with these filters."""

    code = "invalid-cursor"
    title = "The cursor does not fit this list"


class LastOwner(Invalid):
    """A workspace keeps an owner: its last one neither leaves nor becomes something else."""

    def __init__(self) -> None:
        super().__init__([FieldError("/role", "is needed: a workspace keeps at least one owner")])


class IdempotencyMismatch(Invalid):
    """The same Idempotency-Key was sent with another body."""

    code = "idempotency-mismatch"
    title = "The Idempotency-Key was used for another request"


class RateLimited(KeysteadError):
    """Too fast; `retry_after` in whole seconds. `exceeded`: the rate limit, where it is a key's or a workspace's."""

    code = "rate-limited"
    title = "Too many requests"

    def __init__(
        self, retry_after: int, detail: str = "", exceeded: RateExceeded | None = None
    ) -> None:
        super().__init__(detail)
        self.retry_after, self.exceeded = retry_after, exceeded


class StorageError(KeysteadError):
    """The store did not do its part; the caller is not to blame."""


class Unavailable(StorageError):
    """The database cannot be reached, is busy beyond the time allowed, or is read-only. Nothing was done."""

    code = "unavailable"
    title = "The service is not available right now"


class OutcomeUnknown(StorageError):
    """The commit's answer was lost: the change was made, or it was not."""

    code = "outcome-unknown"
    title = "It is not known whether the change was made"


class DiskFull(StorageError):
    """The store has no room. Nothing was done."""

    code = "disk-full"
    title = "The store is full"
