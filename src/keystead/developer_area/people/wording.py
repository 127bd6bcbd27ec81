"""Words that several pages about people share: refused fields as sentences, browsers, roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from keystead.developer_area.web.contexts import Choice
from keystead.domain.errors import Invalid, LastOwner
from keystead.domain.roles import PERMISSIONS
from keystead.domain.workspaces import Role

_SUBJECTS: Final[Mapping[str, str]] = {
    "name": "The name",
    "email": "The e-mail address",
    "password": "The password",
    "new": "The new password",
    "current": "This",
    "again": "The second one",
    "role": "The role",
    "time_zone": "The time zone",
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
KEPT_OWNER: Final = "A workspace keeps at least one owner, and this is its only one. Make somebody else an owner first."


def problems_of(refused: Invalid) -> Mapping[str, str]:
    """A sentence for each refused field, by the field's name."""
    if isinstance(refused, LastOwner):
        return {"role": KEPT_OWNER}
    problems = {}
    for error in refused.errors:
        name = error.pointer.split("/")[-1]
        problems[name] = f"{_SUBJECTS.get(name, 'This')} {error.detail}."
    return problems


def browser_words(agent: str | None) -> str:
    """Such as `Firefox on Linux`."""
    text = agent or ""
    browser = next((words for mark, words in _BROWSERS if mark in text), "A browser")
    system = next((words for mark, words in _SYSTEMS if mark in text), "")
    return f"{browser} on {system}" if system else browser


def with_article(role: Role) -> str:
    """Such as `an admin`."""
    return f"an {role}" if role[0] in "ao" else f"a {role}"


def role_choices(offered: Sequence[Role], chosen: Role | None) -> Sequence[Choice]:
    """Roles to choose from, each with what it adds to the ones below it."""
    return [Choice(role, role.capitalize(), _adds(role), role is chosen) for role in offered]


def _adds(role: Role) -> str:
    """What a role may do that the one below it may not, in the words of the one table."""
    below = list(Role)[list(Role).index(role) + 1 :]
    own = [r.label for r in PERMISSIONS.values() if role in r.roles and not r.roles & set(below)]
    more = f"All that {with_article(below[0])} may. " if below else ""
    return f"{more}{'. '.join(own)}."
