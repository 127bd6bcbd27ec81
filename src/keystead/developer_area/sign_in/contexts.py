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
    """The sign-in page.

    `link` is the secret of a one-time link to confirm, `link_failed` says that one didn't work. `next` is the path to
    continue to, `form_waits` says that a kept form does. `stranded` names a signed-in user without any workspace.
    """

    template: ClassVar[str] = "sign_in.html"
    form_token: str
    link: str | None
    next: str
    email: str
    problem: str
    link_failed: bool
    form_waits: bool
    stranded: str


@dataclass(frozen=True, slots=True)
class ConfirmPage(FramedPage):
    """The request to authenticate again. `fields` go to `action` along with the password.

    `return_url` is where a portal user authenticates; `has_input` says that `fields` hold input of the user's.
    """

    template: ClassVar[str] = "confirm.html"
    action: str
    fields: Fields
    has_input: bool
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
