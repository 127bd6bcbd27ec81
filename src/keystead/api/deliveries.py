"""Deliveries of events to webhooks: see one, send it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path

from keystead.api.route import Call, CurrentCall, WorkspaceRoute, needs
from keystead.api.webhooks import writes
from keystead.domain.errors import WebhookDisabled
from keystead.domain.ids import DeliveryId
from keystead.domain.scopes import EVENTS_READ, WEBHOOKS_READ
from keystead.wire.resources import Event
from keystead.wire.webhooks import Delivery, SentDelivery


class DeliveryRoute(WorkspaceRoute):
    """A route about deliveries: `id` in its path is a delivery's."""

    def find(self, call: Call, named: Mapping[str, str]) -> None:
        """NotFound unless the workspace has the delivery."""
        if "id" in named:
            call.services.webhooks.require_delivery(call.principal, DeliveryId(named["id"]))


_Id = Annotated[
    str, Path(description="The delivery's id.", examples=["dlv_02tcRIyrxLXTR81B3dqdOx"])
]

router = APIRouter(prefix="/v1/deliveries", tags=["webhooks"], route_class=DeliveryRoute)


@router.get(
    "/{id}",
    operation_id="deliveries_get",
    summary="See a delivery",
    **needs(WEBHOOKS_READ, also=(EVENTS_READ,)),
)
def get_delivery(call: CurrentCall, id: _Id) -> SentDelivery:
    """One delivery with its attempts, and the event that it tells of: `data` of the body that is sent."""
    found = call.services.webhooks.delivery(call.principal, DeliveryId(id))
    return SentDelivery.of(found.delivery, event=Event.of(found.event))


@router.post(
    "/{id}/redeliver",
    operation_id="deliveries_redeliver",
    summary="Send a delivery again",
    **writes(WebhookDisabled),
)
def redeliver(call: CurrentCall, id: _Id) -> Delivery:
    """Sends it again, whatever came of it: at once, under the same `webhook-id`, with a whole schedule of attempts."""
    return Delivery.of(
        call.services.webhooks.redeliver(call.principal, DeliveryId(id), call.origin)
    )
