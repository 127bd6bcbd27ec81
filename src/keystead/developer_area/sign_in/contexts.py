"""Contexts of the pages about signing in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.web.contexts import FramedPage

Fields = Sequence[tuple[str, str]]
"""Names and values of hidden form fields, in order."""


@dataclass(frozen=True, slots=True)
class SignInPage:
    """The sign-in page, whose form goes to `action` with `fields`: by itself, or with a form that continues.

    `prefix` begins the names of email and password, `readable` holds the fields of the other form worth showing.
    `link` is the secret of a one-time link to confirm, which scripts do immediately if `is_confirmed`; `link_failed`
    says that one didn't work. `next_path` is the page that a new link should lead to. `has_ended`: a session has ended.
    `stranded` names a signed-in user without any workspace.
    """

    template: ClassVar[str] = "sign_in.html"
    form_token: str
    action: str = "/sign-in"
    fields: Fields = ()
    prefix: str = ""
    readable: Fields = ()
    link: str | None = None
    is_confirmed: bool = False
    link_failed: bool = False
    next_path: str = ""
    email: str = ""
    problem: str = ""
    has_ended: bool = False
    stranded: str = ""


@dataclass(frozen=True, slots=True)
class ConfirmPage(FramedPage):
    """The request to authenticate again. `fields` go to `action` along with the password.

    `return_url` is where a portal user authenticates.
    """

    template: ClassVar[str] = "confirm.html"
    action: str
    fields: Fields
    email: str | None
    by_password: bool
    of_portal: bool
    return_url: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class ResumePage(FramedPage):
    """A kept form, ready to send. `readable` holds the fields worth showing."""

    template: ClassVar[str] = "resume.html"
    action: str
    fields: Fields
    readable: Fields


@dataclass(frozen=True, slots=True)
class ConfirmEmailPage:
    """The question whether an email is the user's. `link` is None once it is confirmed."""

    template: ClassVar[str] = "confirm_email.html"
    form_token: str
    link: str | None
    name: str
    email: str
