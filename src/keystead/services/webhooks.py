"""Webhooks: create, see, change, delete, rotate the secret, send a test; deliveries: see, send again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Final

from keystead.domain import webhooks as rules
from keystead.domain.destinations import Destinations
from keystead.domain.errors import NotFound, WebhookDisabled
from keystead.domain.events import NO_ORIGIN, Act, Event, EventType, Origin, Target
from keystead.domain.ids import DeliveryId, WebhookId, WorkspaceId, is_id, new_id
from keystead.domain.keys import Unset
from keystead.domain.plans import Quota, require_room
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVENTS_READ, WEBHOOKS_READ, WEBHOOKS_WRITE
from keystead.domain.step_up import SensitiveAction
from keystead.domain.throttle import SENDING, sending_subject
from keystead.domain.versions import IfMatch, require_match
from keystead.domain.webhooks import (
    Delivery,
    DeliveryStatus,
    DisabledReason,
    WebhookDraft,
    WebhookEndpoint,
    WebhookPatch,
    WebhookStatus,
)
from keystead.services.authorization import Authorization, Change
from keystead.services.limits import tells_of_limits
from keystead.services.sealing import Sealed, Sealing
from keystead.services.throttle import Throttle
from keystead.services.webhook_secrets import (
    WebhookSecrets,
    mint_secret,
    open_secrets,
    place_of,
    seal_secrets,
)
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import anew
from keystead.storage.tables import deliveries as delivery_rows
from keystead.storage.tables import delivery_queues as queues
from keystead.storage.tables import events, plans
from keystead.storage.tables import webhooks as rows

WRITING: Final = (WEBHOOKS_WRITE, EVENTS_READ)
"""What it takes to have events sent somewhere: the right to change webhooks, and to read what they are sent."""


@dataclass(frozen=True, slots=True)
class CreatedWebhook:
    """An endpoint with a fresh secret, which leaves once."""

    endpoint: WebhookEndpoint
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebhookPage:
    """Endpoints, newest first; `next` is the id to continue after, None at the end."""

    endpoints: list[WebhookEndpoint]
    next: WebhookId | None
    quota: Quota


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Deliveries, newest events first; `next` is the event's sequence to continue below, None at the end."""

    deliveries: list[Delivery]
    next: int | None


@dataclass(frozen=True, slots=True)
class SentDelivery:
    """A delivery with the event that it tells of, and the body that is sent."""

    delivery: Delivery
    event: Event
    body: bytes


class Webhooks:
    """The webhooks of workspaces. Every method acts for a principal, within that principal's workspace."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        sealing: Sealing,
        destinations: Destinations,
        throttle: Throttle,
        *,
        plans_url: str | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)
        self._sealing = sealing
        self._destinations = destinations
        self._throttle = throttle
        self._plans_url = plans_url

    @anew
    def create(
        self, principal: Principal, draft: WebhookDraft, origin: Origin = NO_ORIGIN
    ) -> CreatedWebhook:
        """A new endpoint, if the plan has room. LimitReached or Invalid otherwise."""
        with (
            self._telling(principal, origin),
            self._changing(principal, origin) as (tx, _, act),
        ):
            principal.require_recent_authentication(SensitiveAction.CHANGE_WEBHOOKS, act.at)
            checked = rules.check_draft(draft, self._destinations)
            self._require_room(tx, principal.workspace_id)
            endpoint = _new_endpoint(tx, principal.workspace_id, checked, act)
            secrets = WebhookSecrets(mint_secret(), headers=checked.headers)
            rows.insert_endpoint(tx, endpoint, *self._seal(endpoint, secrets))
            _record(tx, EventType.WEBHOOK_CREATED, endpoint, act)
        return CreatedWebhook(endpoint, secrets.current)

    @anew
    def list(
        self, principal: Principal, *, limit: int = 50, before: WebhookId | None = None
    ) -> WebhookPage:
        """One page of endpoints, newest first, and how much of the limit is used."""
        principal.require(WEBHOOKS_READ)
        workspace_id = principal.workspace_id
        with self._database.read(workspace_id) as tx:
            found = rows.page_of_endpoints(tx, workspace_id, limit=limit + 1, before=before)
            quota = _quota(tx, workspace_id)
        page = found[:limit]
        return WebhookPage(page, page[-1].id if len(found) > limit else None, quota)

    def get(self, principal: Principal, webhook_id: WebhookId) -> WebhookEndpoint:
        """One endpoint; NotFound for an id of another workspace too."""
        principal.require(WEBHOOKS_READ)
        return self.require(principal, webhook_id)

    @anew
    def require(self, principal: Principal, webhook_id: WebhookId) -> WebhookEndpoint:
        """NotFound unless the workspace has it: what a front door asks before it refuses a call's values."""
        with self._database.read(principal.workspace_id) as tx:
            return _find(tx, principal, webhook_id)

    @anew
    def update(
        self,
        principal: Principal,
        webhook_id: WebhookId,
        patch: WebhookPatch,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> WebhookEndpoint:
        """Return the endpoint after `patch`. If nothing changes, there is no event."""
        with self._changing(principal, origin) as (tx, _, act):
            endpoint = _find(tx, principal, webhook_id)
            principal.require_recent_authentication(SensitiveAction.CHANGE_WEBHOOKS, act.at)
            require_match(if_match, endpoint.version)
            checked = rules.check_patch(patch, self._destinations)
            changed = rules.apply_patch(endpoint, checked, act.at)
            names = _changed_names(endpoint, changed)
            if not isinstance(checked.headers, Unset):
                changed, others = self._with_headers(tx, changed, checked.headers)
                names += ("headers",) if others else ()
            if names:
                changed = replace(changed, version=endpoint.version + 1)
            rows.update_endpoint(tx, changed)
            if names:
                _record(tx, EventType.WEBHOOK_UPDATED, changed, act, changed=list(names))
            if changed.status is not endpoint.status:
                _record_status(tx, changed, act)
        return changed

    @anew
    def delete(
        self,
        principal: Principal,
        webhook_id: WebhookId,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> None:
        """Delete the endpoint for good, with its deliveries: nothing more is sent to it."""
        with self._changing(principal, origin) as (tx, _, act):
            endpoint = _find(tx, principal, webhook_id)
            principal.require_recent_authentication(SensitiveAction.CHANGE_WEBHOOKS, act.at)
            require_match(if_match, endpoint.version)
            rows.mark_deleted(tx, endpoint, act.at)
            _record(tx, EventType.WEBHOOK_DELETED, endpoint, act)

    @anew
    def rotate_secret(
        self, principal: Principal, webhook_id: WebhookId, origin: Origin = NO_ORIGIN
    ) -> CreatedWebhook:
        """A fresh secret. For 24 hours the one before signs too; one that was before that no more."""
        with self._changing(principal, origin) as (tx, _, act):
            endpoint = _find(tx, principal, webhook_id)
            principal.require_recent_authentication(SensitiveAction.CHANGE_WEBHOOKS, act.at)
            secrets = self._open(tx, endpoint).rotated()
            endpoint = replace(endpoint, secret_overlap_until=act.at + rules.SECRET_OVERLAP)
            rows.update_endpoint(tx, endpoint)
            rows.update_sealed(tx, endpoint, *self._seal(endpoint, secrets))
            _record(tx, EventType.WEBHOOK_SECRET_ROTATED, endpoint, act)
        return CreatedWebhook(endpoint, secrets.current)

    @anew
    def test(
        self, principal: Principal, webhook_id: WebhookId, origin: Origin = NO_ORIGIN
    ) -> Delivery:
        """Sends an event `webhook.test` to this endpoint alone. WebhookDisabled where it is; RateLimited."""
        _require_write(principal)
        with self._database.read(principal.workspace_id) as tx:
            self._find_active(tx, principal, webhook_id)
        self._keep_pace(principal)
        return self._test(principal, webhook_id, origin)

    @anew
    def _test(self, principal: Principal, webhook_id: WebhookId, origin: Origin) -> Delivery:
        with self._changing(principal, origin) as (tx, _, act):
            endpoint = self._find_active(tx, principal, webhook_id)
            workspace_id, target = endpoint.workspace_id, Target("webhook", endpoint.id)
            events.append_event_for(
                tx, workspace_id, endpoint.id, EventType.WEBHOOK_TEST, act, target
            )
            return delivery_rows.page_of_deliveries(tx, workspace_id, endpoint.id, limit=1)[0]

    @anew
    def deliveries(
        self,
        principal: Principal,
        webhook_id: WebhookId,
        *,
        status: DeliveryStatus | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> DeliveryPage:
        """One page of an endpoint's deliveries with their attempts, newest events first."""
        principal.require(WEBHOOKS_READ)
        with self._database.read(principal.workspace_id) as tx:
            endpoint = _find(tx, principal, webhook_id)
            found = delivery_rows.page_of_deliveries(
                tx,
                endpoint.workspace_id,
                endpoint.id,
                limit=limit + 1,
                before=before,
                status=status,
            )
        page = found[:limit]
        return DeliveryPage(page, page[-1].event_sequence if len(found) > limit else None)

    @anew
    def delivery(self, principal: Principal, delivery_id: DeliveryId) -> SentDelivery:
        """One delivery, the event it tells of, and its body: that takes the right to read events too."""
        principal.require(WEBHOOKS_READ)
        principal.require(EVENTS_READ)
        with self._database.read(principal.workspace_id) as tx:
            delivery = _find_delivery(tx, principal, delivery_id)
            event = delivery_rows.find_event_of(tx, delivery)
        return SentDelivery(delivery, event, rules.payload_of(event))

    @anew
    def require_delivery(self, principal: Principal, delivery_id: DeliveryId) -> None:
        """NotFound unless the workspace has it."""
        with self._database.read(principal.workspace_id) as tx:
            _find_delivery(tx, principal, delivery_id)

    @anew
    def redeliver(
        self, principal: Principal, delivery_id: DeliveryId, origin: Origin = NO_ORIGIN
    ) -> Delivery:
        """Sends the delivery again, at once and with a whole schedule, under the same id.

        WebhookDisabled where its endpoint is; RateLimited where the workspace asks for too much to be sent.
        """
        _require_write(principal)
        with self._database.read(principal.workspace_id) as tx:
            delivery = _find_delivery(tx, principal, delivery_id)
            self._find_active(tx, principal, delivery.webhook_id)
        self._keep_pace(principal)
        return self._redeliver(principal, delivery_id, origin)

    @anew
    def _redeliver(self, principal: Principal, delivery_id: DeliveryId, origin: Origin) -> Delivery:
        with self._changing(principal, origin) as (tx, _, act):
            delivery = _find_delivery(tx, principal, delivery_id)
            self._find_active(tx, principal, delivery.webhook_id)
            queues.hold_queue(tx, (delivery.workspace_id, delivery.webhook_id))
            again = rules.restart_schedule(delivery, act.at)
            delivery_rows.restart_delivery(tx, again)
            queues.make_due(tx, (delivery.workspace_id, delivery.webhook_id))
        return again

    def _keep_pace(self, principal: Principal) -> None:
        """Before the workspace is locked, so that nobody waits for it. What cannot be sent does not count."""
        what = "tests and deliveries sent again"
        self._throttle.keep_pace(sending_subject(principal.workspace_id), SENDING, what)

    def _changing(self, principal: Principal, origin: Origin) -> AbstractContextManager[Change]:
        return self._authorization.changing(principal, origin, *WRITING)

    def _telling(self, principal: Principal, origin: Origin) -> AbstractContextManager[None]:
        return tells_of_limits(
            self._database, self._clock, principal.workspace_id, principal.actor, origin
        )

    def _require_room(self, tx: Tx, workspace_id: WorkspaceId) -> None:
        plan = plans.plan_of(tx, workspace_id)
        require_room("webhooks", _quota(tx, workspace_id), plan, plans_url=self._plans_url)

    def _find_active(self, tx: Tx, principal: Principal, webhook_id: WebhookId) -> WebhookEndpoint:
        endpoint = _find(tx, principal, webhook_id)
        if endpoint.status is WebhookStatus.DISABLED:
            raise WebhookDisabled("The webhook is disabled; enable it first.")
        return endpoint

    def _with_headers(
        self, tx: Tx, endpoint: WebhookEndpoint, asked: Mapping[str, str | Unset]
    ) -> tuple[WebhookEndpoint, bool]:
        """The endpoint with the headers that are asked for, and whether they are others than before."""
        secrets = self._open(tx, endpoint)
        headers = rules.merge_headers(secrets.headers, asked)
        if secrets.headers == headers:
            return endpoint, False
        sealed = self._seal(endpoint, replace(secrets, headers=headers))
        rows.update_sealed(tx, endpoint, *sealed)
        return replace(endpoint, header_names=tuple(headers)), True

    def _seal(self, endpoint: WebhookEndpoint, secrets: WebhookSecrets) -> Sealed:
        return seal_secrets(self._sealing, secrets, place_of(endpoint.workspace_id, endpoint.id))

    def _open(self, tx: Tx, endpoint: WebhookEndpoint) -> WebhookSecrets:
        sealed = rows.find_sealed(tx, endpoint.workspace_id, endpoint.id)
        if sealed is None:
            raise NotFound("There is no such webhook.")
        place = place_of(endpoint.workspace_id, endpoint.id)
        return open_secrets(self._sealing, Sealed(*sealed), place)


def disable(tx: Tx, endpoint: WebhookEndpoint, act: Act, why: DisabledReason) -> WebhookEndpoint:
    """Sends nothing more to the endpoint, and says why in an event. The workspace's lock is held."""
    disabled = replace(endpoint, disabled_at=act.at, disabled_for=why)
    rows.update_endpoint(tx, disabled)
    _record_status(tx, disabled, act)
    return disabled


def _require_write(principal: Principal) -> None:
    for scope in WRITING:
        principal.require(scope)


def _find(tx: Tx, principal: Principal, webhook_id: WebhookId) -> WebhookEndpoint:
    named = is_id("wh", webhook_id)
    endpoint = rows.find_endpoint(tx, principal.workspace_id, webhook_id) if named else None
    if endpoint is None:
        raise NotFound("There is no such webhook.")
    return endpoint


def _find_delivery(tx: Tx, principal: Principal, delivery_id: DeliveryId) -> Delivery:
    """NotFound for a delivery of a deleted endpoint too."""
    named = is_id("dlv", delivery_id)
    found = delivery_rows.find_delivery(tx, principal.workspace_id, delivery_id) if named else None
    if found is None or rows.find_endpoint(tx, found.workspace_id, found.webhook_id) is None:
        raise NotFound("There is no such delivery.")
    return found


def _quota(tx: Tx, workspace_id: WorkspaceId) -> Quota:
    limit = plans.plan_of(tx, workspace_id).limits.webhooks
    return Quota(limit, rows.count_endpoints(tx, workspace_id))


def _new_endpoint(
    tx: Tx, workspace_id: WorkspaceId, draft: WebhookDraft, act: Act
) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=WebhookId(new_id("wh", act.at, rows.newest_endpoint_id(tx, workspace_id))),
        workspace_id=workspace_id,
        name=draft.name,
        url=draft.url,
        events=tuple(draft.events),
        created_at=act.at,
        created_by=act.actor,
        header_names=tuple(draft.headers),
    )


def _changed_names(before: WebhookEndpoint, after: WebhookEndpoint) -> tuple[str, ...]:
    names = ("name", "url", "events")
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))


def _record(tx: Tx, type: EventType, endpoint: WebhookEndpoint, act: Act, **data: object) -> None:
    """The event tells the endpoint's name: its URL may hold a secret."""
    target = Target("webhook", endpoint.id)
    events.append_event(
        tx, endpoint.workspace_id, type, act, target, {"name": endpoint.name, **data}
    )


def _record_status(tx: Tx, endpoint: WebhookEndpoint, act: Act) -> None:
    """After the endpoint was enabled or disabled: what waits is due, or waits on."""
    if endpoint.status is WebhookStatus.ACTIVE:
        _record(tx, EventType.WEBHOOK_ENABLED, endpoint, act)
    else:
        why = endpoint.disabled_for
        _record(tx, EventType.WEBHOOK_DISABLED, endpoint, act, reason=why)
    queues.make_due(tx, (endpoint.workspace_id, endpoint.id))
