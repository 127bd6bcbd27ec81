"""Confirming an email address: the one email that Keystead sends to an unconfirmed address."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystead.domain.ids import UserId
from keystead.domain.mail import Email
from keystead.domain.throttle import Subject, WindowLimit
from keystead.domain.users import fold_email

CONFIRMATION_LIFETIME: Final = timedelta(days=1)
PATH: Final = "/sign-in/confirm-email"
"""Below /sign-in, so that a proxy's rule against logging sign-in links covers these links too."""
CHANGE_LIMIT: Final = WindowLimit(5, timedelta(hours=1))
"""Changes of a person's own email."""
EMAIL_LIMIT: Final = WindowLimit(3, timedelta(days=1))
"""Confirmation emails to one address, for all users together."""


@dataclass(frozen=True, slots=True)
class PendingConfirmation:
    """An unconfirmed address of a user. `due_at`: when to send the email; None once it was sent or abandoned."""

    email: str
    requested_at: datetime
    due_at: datetime | None
    expires_at: datetime | None


def change_subject(user_id: UserId) -> Subject:
    """Return the subject that counts a person's changes of their email."""
    return Subject(f"email:{user_id}")


def email_subject(email: str) -> Subject:
    """Return the subject that counts emails to an address, which is hashed because it may be a stranger's."""
    return Subject(f"letters:{hashlib.sha256(fold_email(email).encode()).hexdigest()}")


def compose(user_id: UserId, email: str, secret: str, product: str, base_url: str) -> Email:
    """Return the confirmation email. It quotes nothing that the user typed: that would let them send spam."""
    text = (
        f"Someone asked to use this email for an account at {product} ({base_url}).\n\n"
        "To confirm that it's yours, open this link within 24 hours:\n\n"
        f"{base_url}{PATH}?link={secret}\n\n"
        "If you didn't ask for this, ignore this email. We won't send you anything else.\n"
    )
    return Email(email, f"Confirm your email for {product}", text, user_id)
