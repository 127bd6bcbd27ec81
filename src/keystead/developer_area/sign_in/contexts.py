"""Contexts of the pages about signing in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.web.contexts import Frame

Fields = Sequence[tuple[str, str]]
"""Fields of a form that are carried along: names and values, in order."""


@dataclass(frozen=True, slots=True)
class SignInPage:
    """Where people come in. `link` is the secret of a one-time link, whose form uses it up; `spent`: it did not work.

    `next` is where they wanted to go; `waits`: a form of theirs waits in this browser. `stranded` names who is signed
    in, and a member of no workspace.
    """

    template: ClassVar[str] = "sign_in.html"
    form_token: str
    link: str | None
    next: str
    email: str
    problem: str
    spent: bool
    waits: bool
    stranded: str


@dataclass(frozen=True, slots=True)
class ConfirmPage:
    """The question for a proof. `fields` go on to `action` with it; at `return_url` a product's user proves it.

    `keeps`: something that the person entered goes on.
    """

    template: ClassVar[str] = "confirm.html"
    frame: Frame
    action: str
    fields: Fields
    keeps: bool
    email: str | None
    by_password: bool
    of_portal: bool
    return_url: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class ResumePage:
    """After the proof: the form that waited for it. `shown` is what of it people can read."""

    template: ClassVar[str] = "resume.html"
    frame: Frame
    action: str
    fields: Fields
    shown: Fields


@dataclass(frozen=True, slots=True)
class ConfirmEmailPage:
    """The question whether an email is somebody's; `link` None: the answer was yes."""

    template: ClassVar[str] = "confirm_email.html"
    form_token: str
    link: str | None
    name: str
    email: str
