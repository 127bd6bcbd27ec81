"""Confirming an email: the only letter that is sent to an email before it is confirmed."""

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
"""Below /sign-in, so that whatever keeps sign-in links out of a proxy's log keeps these out too."""
CHANGE_LIMIT: Final = WindowLimit(5, timedelta(hours=1))
"""Changes of their email that one person may ask for."""
EMAIL_LIMIT: Final = WindowLimit(3, timedelta(days=1))
"""Confirmation letters to one email, no matter how many users ask for them."""


@dataclass(frozen=True, slots=True)
class PendingConfirmation:
    """An email that a user has yet to confirm. `due_at`: of its letter, None once that was sent or given up."""

    email: str
    requested_at: datetime
    due_at: datetime | None
    expires_at: datetime | None


def change_subject(user_id: UserId) -> Subject:
    """Return what counts a person's changes of their email."""
    return Subject(f"email:{user_id}")


def email_subject(email: str) -> Subject:
    """Return what counts the letters to an email; hashed, for it may be a stranger's."""
    return Subject(f"letters:{hashlib.sha256(fold_email(email).encode()).hexdigest()}")


def compose(user_id: UserId, email: str, secret: str, product: str, base_url: str) -> Email:
    """Return the confirmation letter. It holds nothing that the user typed, or it would carry their spam."""
    text = (
        f"Someone asked to use this email for an account at {product} ({base_url}).\n\n"
        "To confirm that it's yours, open this link within 24 hours:\n\n"
        f"{base_url}{PATH}?link={secret}\n\n"
        "If you didn't ask for this, ignore this email. We won't send you anything else.\n"
    )
    return Email(email, f"Confirm your email for {product}", text, user_id)
