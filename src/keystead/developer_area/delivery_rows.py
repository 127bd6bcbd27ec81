"""Deliveries and their attempts in words."""

from __future__ import annotations

from datetime import datetime, tzinfo
from http import HTTPStatus
from typing import Final

from keystead.developer_area.web.contexts import Moment
from keystead.developer_area.web.times import moment
from keystead.developer_area.webhooks.contexts import AttemptRow, DeliveryRow
from keystead.domain.webhooks import Attempt, AttemptError, Delivery

_ERRORS: Final = {
    AttemptError.REDIRECT: "a redirect, which is not followed",
    AttemptError.UNRESOLVED: "no address for the host",
    AttemptError.FORBIDDEN_ADDRESS: "an address that must not be sent to",
    AttemptError.FORBIDDEN_URL: "a URL that must not be sent to",
    AttemptError.UNREACHABLE: "nothing answers there",
    AttemptError.TLS: "no trusted certificate",
    AttemptError.TIMEOUT: "no answer in time",
    AttemptError.BAD_ANSWER: "an answer that is no HTTP",
}


def delivery_row(delivery: Delivery, here: str, now: datetime, zone: tzinfo) -> DeliveryRow:
    """A delivery of the webhook whose page is `here`."""
    return DeliveryRow(
        url=f"{here}/deliveries/{delivery.id}",
        type=delivery.event_type,
        status=delivery.status,
        attempts=f"{delivery.attempted:,}",
        last=outcome_words(delivery.attempts[-1]) if delivery.attempts else "Not tried yet",
        at=moment(delivery.created_at, now, zone),
        following=ahead(delivery, now, zone),
    )


def ahead(delivery: Delivery, now: datetime, zone: tzinfo) -> Moment | None:
    """When it is tried next; None where it is due already, or never tried again."""
    following = delivery.next_attempt_at
    return moment(following, now, zone) if following is not None and following > now else None


def attempt_row(attempt: Attempt, now: datetime, zone: tzinfo) -> AttemptRow:
    """One try."""
    took = f"{attempt.milliseconds:,} ms"
    return AttemptRow(moment(attempt.at, now, zone), outcome_words(attempt), took)


def outcome_words(attempt: Attempt) -> str:
    """Such as `204 No Content`, or `No answer in time`."""
    status = attempt.status
    told = "" if status is None else f"{status} {_phrase(status)}".strip()
    why = "" if attempt.error is None else _ERRORS.get(attempt.error, "")
    words = ": ".join(part for part in (told, why) if part) or "Failed"
    return words[0].upper() + words[1:]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
