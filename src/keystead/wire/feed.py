"""The feed of all events, for the product's backend."""

from __future__ import annotations

from typing import Annotated, Self

from keystead.domain import feed
from keystead.wire.resources import Actor, Event, Target
from keystead.wire.schema import Resource, member


class FeedEvent(Event):
    """An audit record in the feed, with its workspace."""

    type: Annotated[  # type: ignore[assignment] # wider than a workspace's own types
        str, member("The type. New versions add some.", "key.created", "plans.changed")
    ]
    workspace: Annotated[
        str | None,
        member(
            "The workspace's id. Null: an event of the installation itself.",
            "ws_02tcRIyrxLXTR81B3dqdOx",
        ),
    ]

    @classmethod
    def of_feed(cls, event: feed.FeedEvent) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            id=event.id,
            type=event.type,
            occurred_at=event.occurred_at,
            actor=Actor.of(event.actor),
            target=Target(type=event.target.type, id=event.target.id),
            address=event.origin.address,
            request_id=event.origin.request_id,
            data=event.data,
            workspace=event.workspace_id,
        )


class Feed(Resource):
    """A part of the feed, oldest first."""

    items: list[FeedEvent]
    next_after: Annotated[
        str, member("The `after` of the next request. Opaque; store it.", "1796126400000000")
    ]
