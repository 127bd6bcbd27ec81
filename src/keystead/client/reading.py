"""The values of results.py, read from the API's JSON. KeyError, TypeError or ValueError for what has not its shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from keystead.client import results
from keystead.client.errors import TokenLost
from keystead.domain.instants import parse_instant
from keystead.domain.token import Secret, Token, parse

T = TypeVar("T")
Json = Mapping[str, Any]


def nothing(_: object) -> None:
    """The answer of a call that has nothing to say."""


def page(read: Callable[[Any], T]) -> Callable[[Json], results.Page[T]]:
    """How a page is read whose items `read` reads."""
    return lambda told: results.Page([read(one) for one in told["items"]], told["next_cursor"])


def key(told: Json) -> results.Key:
    """A key."""
    return results.Key(**_key(told))


def created_key(told: Json) -> results.CreatedKey:
    """A new key; TokenLost where its token was in an answer before."""
    if told["token"] is None:
        raise TokenLost(key(told))
    return results.CreatedKey(**_key(told), token=_token(told["token"]))


def key_page(told: Json) -> results.KeyPage:
    """One page of keys."""
    return results.KeyPage(
        [key(one) for one in told["items"]], told["next_cursor"], quota(told["quota"])
    )


def quota(told: Json) -> results.Quota:
    """A quota."""
    return results.Quota(told["limit"], int(told["used"]))


def workspace(told: Json) -> results.Workspace:
    """A workspace, as its keys see it."""
    return results.Workspace(told["id"], told["name"], told["plan"])


def whoami(told: Json) -> results.Whoami:
    """Who calls."""
    return results.Whoami(workspace(told["workspace"]), key(told["key"]))


def plan_use(told: Json) -> results.PlanUse:
    """A plan with its use."""
    named = results.Plan(told["plan"]["id"], told["plan"]["name"])
    return results.PlanUse(named, _quotas(told["quotas"]))


def plan_with_limits(told: Json) -> results.PlanWithLimits:
    """A plan with its limits; a server of an earlier version tells no rate limits."""
    rates = dict(told.get("rate_limits", {}))
    return results.PlanWithLimits(told["id"], told["name"], dict(told["limits"]), rates)


def collection(told: Json) -> results.Collection:
    """A collection."""
    return results.Collection(
        told["name"],
        told["title"],
        int(told["documents"]),
        parse_instant(told["created_at"]),
        parse_instant(told["updated_at"]),
    )


def document_summary(told: Json) -> results.DocumentSummary:
    """A document without its text."""
    return results.DocumentSummary(**_document(told))


def document(told: Json) -> results.Document:
    """A document."""
    return results.Document(**_document(told), text=told["text"])


def push_report(told: Json) -> results.PushReport:
    """What became of a batch."""
    names = ("created", "updated", "unchanged", "deleted")
    return results.PushReport(*(int(told[name]) for name in names))


def event(told: Json) -> results.Event:
    """An event."""
    return results.Event(
        told["id"],
        told["type"],
        parse_instant(told["occurred_at"]),
        _actor(told["actor"]),
        results.Target(told["target"]["type"], told["target"]["id"]),
        told["address"],
        told["request_id"],
        dict(told["data"]),
    )


def webhook(told: Json) -> results.Webhook:
    """A webhook."""
    return results.Webhook(**_webhook(told))


def created_webhook(told: Json) -> results.CreatedWebhook:
    """A webhook with its secret."""
    return results.CreatedWebhook(**_webhook(told), secret=Secret(str(told["secret"])))


def delivery(told: Json) -> results.Delivery:
    """A delivery."""
    return results.Delivery(**_delivery(told))


def sent_delivery(told: Json) -> results.SentDelivery:
    """A delivery with its event."""
    return results.SentDelivery(**_delivery(told), event=event(told["event"]))


def managed_workspace(told: Json) -> results.ManagedWorkspace:
    """A workspace, as operators see it."""
    return results.ManagedWorkspace(**_workspace(told))


def workspace_with_use(told: Json) -> results.WorkspaceWithUse:
    """A workspace with its use."""
    return results.WorkspaceWithUse(
        **_workspace(told), overrides=dict(told["overrides"]), quotas=_quotas(told["quotas"])
    )


def portal_session(told: Json) -> results.PortalSession:
    """A link that signs in."""
    return results.PortalSession(told["url"], parse_instant(told["expires_at"]))


def introspection(told: Json) -> results.Introspection:
    """What a token is good for. An answer that is not plainly `true` is no."""
    if told["active"] is not True:
        return results.Introspection(active=False)
    return results.Introspection(
        active=True,
        scopes=tuple(told["scope"].split()),
        key_id=told["client_id"],
        workspace=workspace(told["workspace"]),
        expires_at=_seconds(told.get("exp")),
        issued_at=_seconds(told.get("iat")),
    )


def instant(text: str | None) -> datetime | None:
    """An instant, or none."""
    return None if text is None else parse_instant(text)


def _key(told: Json) -> dict[str, Any]:
    plain = ("id", "description", "hint", "status", "last_used_ip", "last_used_agent", "rotated_to")
    instants = ("expires_at", "last_used_at", "revoked_at")
    return {
        **{name: told[name] for name in plain},
        **{name: instant(told[name]) for name in instants},
        "scopes": tuple(told["scopes"]),
        "created_at": parse_instant(told["created_at"]),
        "created_by": _actor(told["created_by"]),
    }


def _document(told: Json) -> dict[str, Any]:
    return {
        **{name: told[name] for name in ("id", "title", "url")},
        "attributes": dict(told["attributes"]),
        "created_at": parse_instant(told["created_at"]),
        "updated_at": parse_instant(told["updated_at"]),
    }


def _webhook(told: Json) -> dict[str, Any]:
    return {
        **{name: told[name] for name in ("id", "name", "url", "status", "disabled_for")},
        **{name: tuple(told[name]) for name in ("events", "header_names")},
        **{name: instant(told[name]) for name in ("disabled_at", "secret_overlap_until")},
        "created_at": parse_instant(told["created_at"]),
        "created_by": _actor(told["created_by"]),
    }


def _delivery(told: Json) -> dict[str, Any]:
    return {
        **{name: told[name] for name in ("id", "webhook_id", "event_id", "event_type", "status")},
        "created_at": parse_instant(told["created_at"]),
        "attempts": tuple(_attempt(one) for one in told["attempts"]),
        "next_attempt_at": instant(told["next_attempt_at"]),
    }


def _attempt(told: Json) -> results.Attempt:
    at = parse_instant(told["at"])
    return results.Attempt(at, told["status"], told["error"], int(told["milliseconds"]))


def _workspace(told: Json) -> dict[str, Any]:
    return {
        **{name: told[name] for name in ("id", "name", "plan")},
        "created_at": parse_instant(told["created_at"]),
        "suspended_at": instant(told["suspended_at"]),
    }


def _quotas(told: Json) -> dict[str, results.Quota]:
    return {name: quota(one) for name, one in told.items()}


def _actor(told: Json) -> results.Actor:
    return results.Actor(told["type"], told["id"], told["name"])


def _token(text: str) -> Token:
    token = parse(text)
    if token is None:
        raise ValueError("what stands in the token's place is none")
    return token


def _seconds(number: int | None) -> datetime | None:
    return None if number is None else datetime.fromtimestamp(number, UTC)
