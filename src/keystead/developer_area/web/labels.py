"""Texts that several pages share: counts, field errors, browsers, roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from keystead.developer_area.web.contexts import Choice
from keystead.domain.errors import Invalid, LastOwner
from keystead.domain.roles import PermissionInfo, permissions_of
from keystead.domain.workspaces import Role

_PEOPLE_LABELS: Final[Mapping[str, str]] = {
    "name": "Name",
    "email": "Email",
    "password": "Password",
    "new": "New password",
    "current": "This",
    "again": "Confirmation",
    "role": "Role",
    "time_zone": "Time zone",
}
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
LAST_OWNER: Final = "This is the workspace's only owner, and it needs at least one. Make another member an owner first."


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Return a count with its noun, such as `1 key` or `1,200 keys`. `nouns`: an irregular plural."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def field_problems(
    error: Invalid, labels: Mapping[str, str], fields: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the first problem of each refused field as a sentence that names the field in words.

    `labels` maps the top-level names in the error's pointers to labels, `fields` to the form's own field names. A
    detail that begins with a capital letter is a sentence of its own.
    """
    problems: dict[str, str] = {}
    for entry in error.errors:
        name, detail = entry.pointer.removeprefix("/").partition("/")[0], entry.detail
        if not detail[:1].isupper():
            detail = f"{labels.get(name, 'This')} {detail}"
        problems.setdefault((fields or {}).get(name, name), f"{detail}.")
    return problems


def people_problems(error: Invalid) -> Mapping[str, str]:
    """Return the problems of a form about users or members."""
    if isinstance(error, LastOwner):
        return {"role": LAST_OWNER}
    return field_problems(error, _PEOPLE_LABELS)


def browser_label(agent: str | None) -> str:
    """Return a browser's name such as `Firefox on Linux` from its User-Agent."""
    text = agent or ""
    browser = next((name for mark, name in _BROWSERS if mark in text), "A browser")
    system = next((name for mark, name in _SYSTEMS if mark in text), "")
    return f"{browser} on {system}" if system else browser


def with_article(role: Role) -> str:
    """Return a role with its article, such as `an admin`."""
    return f"an {role}" if role[0] in "ao" else f"a {role}"


def role_choices(
    roles: Sequence[Role], chosen: Role | None, *, has_documents: bool
) -> Sequence[Choice]:
    """Return `roles` as options, each with the permissions it adds to the role below it."""
    infos = permissions_of(has_documents=has_documents).values()
    return [
        Choice(role, role.capitalize(), _role_hint(role, infos), role is chosen) for role in roles
    ]


def _role_hint(role: Role, infos: Iterable[PermissionInfo]) -> str:
    lower = list(Role)[list(Role).index(role) + 1 :]
    added = [p.label for p in infos if role in p.roles and not p.roles & set(lower)]
    inherited = f"Everything {with_article(lower[0])} can do, plus: " if lower else ""
    return f"{inherited}{'. '.join(added)}."
