"""Webhooks: create, list, update, delete, rotate the secret, test; their deliveries: list, resend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from keystead.domain import webhooks as rules
from keystead.domain.destinations import Destinations
from keystead.domain.errors import NotFound
from keystead.domain.events import NO_ORIGIN, Act, Event, EventType, Origin, Target
from keystead.domain.ids import DeliveryId, WebhookId, WorkspaceId, is_id, new_id
from keystead.domain.keys import Unset
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVENTS_READ, WEBHOOKS_READ
from keystead.domain.step_up import SensitiveAction
from keystead.domain.versions import IfMatch, require_match
from keystead.domain.webhooks import (
    Delivery,
    DeliveryStatus,
    WebhookDraft,
    WebhookEndpoint,
    WebhookPatch,
)
from keystead.services.authorization import Authorization
from keystead.services.idempotency import Idempotency, Once, Run
from keystead.services.paging import Page, QuotaPage, page_of
from keystead.services.plans import quota_of, require_room
from keystead.services.sealing import (
    Sealed,
    Sealing,
    WebhookSecrets,
    mint_secret,
    open_secrets,
    place_of,
    seal_secrets,
)
from keystead.services.throttle import Throttle
from keystead.services.webhook_endpoints import (
    WRITING,
    find,
    find_active,
    record,
    record_status,
    require_rate,
    require_write,
)
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import deliveries as delivery_rows
from keystead.storage.tables import delivery_queues as queues
from keystead.storage.tables import events
from keystead.storage.tables import webhooks as rows


@dataclass(frozen=True, slots=True)
class CreatedWebhook:
    """An endpoint with a fresh secret, which leaves once."""

    endpoint: WebhookEndpoint
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SentDelivery:
    """A delivery with its event."""

    delivery: Delivery
    event: Event


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
        self._idempotency = Idempotency(database, clock)
        self._sealing = sealing
        self._destinations = destinations
        self._throttle = throttle
        self._plans_url = plans_url

    def create(
        self,
        principal: Principal,
        draft: WebhookDraft,
        origin: Origin = NO_ORIGIN,
        once: Once | None = None,
    ) -> CreatedWebhook:
        """Create an endpoint, if the plan has room. Raises LimitReached, Invalid.

        A form that arrives again, such as after a lost response, gets what it has created, secret included.
        """
        require_write(principal)
        with self._idempotency.run(principal, once) as run:
            if run.result is not None:
                return self._created(principal, WebhookId(run.result))
            return self._create(principal, draft, origin, run)

    @retry_on_conflict
    def _create(
        self, principal: Principal, draft: WebhookDraft, origin: Origin, run: Run
    ) -> CreatedWebhook:
        with self._authorization.changing(principal, origin, *WRITING) as (tx, act):
            principal.require_recent_authentication(SensitiveAction.CHANGE_WEBHOOKS, act.at)
            checked = rules.check_draft(draft, self._destinations)
            workspace_id = principal.workspace_id
            require_room(tx, workspace_id, "webhooks", plans_url=self._plans_url)
            endpoint = _new_endpoint(tx, workspace_id, checked, act)
            secrets = WebhookSecrets(mint_secret(), headers=checked.headers)
            rows.insert_endpoint(tx, endpoint, *self._seal(endpoint, secrets))
            record(tx, EventType.WEBHOOK_CREATED, endpoint, act)
            run.finish(tx, endpoint.id)
        return CreatedWebhook(endpoint, secrets.current)

    @retry_on_conflict
    def list(
        self, principal: Principal, *, limit: int = 50, before: WebhookId | None = None
    ) -> QuotaPage[WebhookEndpoint, WebhookId]:
        """Return one page of endpoints, newest first, and the use of the limit."""
        principal.require(WEBHOOKS_READ)
        workspace_id = principal.workspace_id
        with self._database.read(workspace_id) as tx:
            endpoints = rows.page_of_endpoints(tx, workspace_id, limit=limit + 1, before=before)
            quota = quota_of(tx, workspace_id, "webhooks")
        return page_of(endpoints, limit, lambda endpoint: endpoint.id).with_quota(quota)

    def get(self, principal: Principal, webhook_id: WebhookId) -> WebhookEndpoint:
        """Return one endpoint. Raises NotFound, also for an id of another workspace."""
        principal.require(WEBHOOKS_READ)
        return self.require(principal, webhook_id)

    @retry_on_conflict
    def require(self, principal: Principal, webhook_id: WebhookId) -> WebhookEndpoint:
        """Return the endpoint, without a check of scopes. Raises NotFound, which comes before Invalid values."""
        with self._database.read_once(principal.workspace_id) as tx:
            return find(tx, principal, webhook_id)

    @retry_on_conflict
    def update(
        self,
        principal: Principal,
        webhook_id: WebhookId,
        patch: WebhookPatch,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> WebhookEndpoint:
        """Change the endpoint by `patch`. If nothing changes, there is no event."""
        with self._authorization.changing(principal, origin, *WRITING) as (tx, act):
            endpoint = find(tx, principal, webhook_id)
            principal.require_recent_authentication(SensitiveAction.CHANGE_WEBHOOKS, act.at)
            require_match(if_match, endpoint.version)
            checked = rules.check_patch(patch, self._destinations)
            changed = rules.apply_patch(endpoint, checked, act.at)
            names = _changed_names(endpoint, changed)
            if not isinstance(checked.headers, Unset):
                changed, is_other = self._with_headers(tx, changed, checked.headers)
                names += ("headers",) if is_other else ()
            if names:
                changed = replace(changed, version=endpoint.version + 1)
            rows.update_endpoint(tx, changed)
            if names:
                record(tx, EventType.WEBHOOK_UPDATED, changed, act, changed=list(names))
            if changed.status is not endpoint.status:
                record_status(tx, changed, act)
        return changed

    @retry_on_conflict
    def delete(
        self,
        principal: Principal,
        webhook_id: WebhookId,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> None:
        """Delete the endpoint permanently, with its deliveries: nothing more is sent to it."""
        with self._authorization.changing(principal, origin, *WRITING) as (tx, act):
            endpoint = find(tx, principal, webhook_id)
            principal.require_recent_authentication(SensitiveAction.CHANGE_WEBHOOKS, act.at)
            require_match(if_match, endpoint.version)
            rows.mark_deleted(tx, endpoint, act.at)
            record(tx, EventType.WEBHOOK_DELETED, endpoint, act)

    @retry_on_conflict
    def _created(self, principal: Principal, webhook_id: WebhookId) -> CreatedWebhook:
        principal.require_recent_authentication(SensitiveAction.CHANGE_WEBHOOKS, self._clock.now())
        with self._database.read(principal.workspace_id) as tx:
            endpoint = find(tx, principal, webhook_id)
            return CreatedWebhook(endpoint, self._open(tx, endpoint).current)

    def rotate_secret(
        self,
        principal: Principal,
        webhook_id: WebhookId,
        origin: Origin = NO_ORIGIN,
        once: Once | None = None,
    ) -> CreatedWebhook:
        """Create a fresh secret. The previous one signs too for 24 hours; an older one stops immediately.

        A form that arrives again gets the current secret: a second rotation would stop the one that receivers have.
        """
        require_write(principal)
        with self._idempotency.run(principal, once) as run:
            if run.result is not None:
                return self._created(principal, WebhookId(run.result))
            return self._rotate(principal, webhook_id, origin, run)

    @retry_on_conflict
    def _rotate(
        self, principal: Principal, webhook_id: WebhookId, origin: Origin, run: Run
    ) -> CreatedWebhook:
        with self._authorization.changing(principal, origin, *WRITING) as (tx, act):
            endpoint = find(tx, principal, webhook_id)
            principal.require_recent_authentication(SensitiveAction.CHANGE_WEBHOOKS, act.at)
            secrets = self._open(tx, endpoint).rotated()
            endpoint = replace(endpoint, secret_overlap_until=act.at + rules.SECRET_OVERLAP)
            rows.update_endpoint(tx, endpoint)
            rows.update_sealed(tx, endpoint, *self._seal(endpoint, secrets))
            record(tx, EventType.WEBHOOK_SECRET_ROTATED, endpoint, act)
            run.finish(tx, endpoint.id)
        return CreatedWebhook(endpoint, secrets.current)

    @retry_on_conflict
    def test(
        self, principal: Principal, webhook_id: WebhookId, origin: Origin = NO_ORIGIN
    ) -> Delivery:
        """Send an event `webhook.test` to this endpoint alone. Raises WebhookDisabled, RateLimited."""
        require_write(principal)
        with self._database.read(principal.workspace_id) as tx:
            find_active(tx, principal, webhook_id)
        require_rate(self._throttle, principal)
        return self._test(principal, webhook_id, origin)

    @retry_on_conflict
    def _test(self, principal: Principal, webhook_id: WebhookId, origin: Origin) -> Delivery:
        with self._authorization.changing(principal, origin, *WRITING) as (tx, act):
            endpoint = find_active(tx, principal, webhook_id)
            workspace_id, target = endpoint.workspace_id, Target("webhook", endpoint.id)
            events.append_event_for(
                tx, workspace_id, endpoint.id, EventType.WEBHOOK_TEST, act, target
            )
            return delivery_rows.page_of_deliveries(tx, workspace_id, endpoint.id, limit=1)[0]

    @retry_on_conflict
    def deliveries(
        self,
        principal: Principal,
        webhook_id: WebhookId,
        *,
        status: DeliveryStatus | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> Page[Delivery, int]:
        """Return one page of an endpoint's deliveries with their attempts, newest events first."""
        principal.require(WEBHOOKS_READ)
        with self._database.read(principal.workspace_id) as tx:
            endpoint = find(tx, principal, webhook_id)
            deliveries = delivery_rows.page_of_deliveries(
                tx,
                endpoint.workspace_id,
                endpoint.id,
                limit=limit + 1,
                before=before,
                status=status,
            )
        return page_of(deliveries, limit, lambda delivery: delivery.event_sequence)

    @retry_on_conflict
    def delivery(self, principal: Principal, delivery_id: DeliveryId) -> SentDelivery:
        """Return a delivery with its event. This needs the scope to read events too."""
        principal.require(WEBHOOKS_READ)
        principal.require(EVENTS_READ)
        with self._database.read(principal.workspace_id) as tx:
            delivery = _find_delivery(tx, principal, delivery_id)
            event = delivery_rows.find_event_of(tx, delivery)
        return SentDelivery(delivery, event)

    @retry_on_conflict
    def require_delivery(self, principal: Principal, delivery_id: DeliveryId) -> None:
        """Raise NotFound unless the workspace has it."""
        with self._database.read(principal.workspace_id) as tx:
            _find_delivery(tx, principal, delivery_id)

    @retry_on_conflict
    def redeliver(
        self, principal: Principal, delivery_id: DeliveryId, origin: Origin = NO_ORIGIN
    ) -> Delivery:
        """Send the delivery again immediately, with a whole schedule, under the same id.

        Raises WebhookDisabled, and RateLimited if the workspace resends too much.
        """
        require_write(principal)
        with self._database.read(principal.workspace_id) as tx:
            delivery = _find_delivery(tx, principal, delivery_id)
            find_active(tx, principal, delivery.webhook_id)
        require_rate(self._throttle, principal)
        return self._redeliver(principal, delivery_id, origin)

    @retry_on_conflict
    def _redeliver(self, principal: Principal, delivery_id: DeliveryId, origin: Origin) -> Delivery:
        with self._authorization.changing(principal, origin, *WRITING) as (tx, act):
            delivery = _find_delivery(tx, principal, delivery_id)
            find_active(tx, principal, delivery.webhook_id)
            queues.hold_queue(tx, (delivery.workspace_id, delivery.webhook_id))
            again = rules.restart_schedule(delivery, act.at)
            delivery_rows.restart_deliveries(tx, [again])
            queues.make_due(tx, (delivery.workspace_id, delivery.webhook_id))
        return again

    def _with_headers(
        self, tx: Tx, endpoint: WebhookEndpoint, patch: Mapping[str, str | Unset]
    ) -> tuple[WebhookEndpoint, bool]:
        """Return the endpoint with the patched headers, and whether they are others than before."""
        secrets = self._open(tx, endpoint)
        headers = rules.merge_headers(secrets.headers, patch)
        if secrets.headers == headers:
            return endpoint, False
        sealed = self._seal(endpoint, replace(secrets, headers=headers))
        rows.update_sealed(tx, endpoint, *sealed)
        return replace(endpoint, header_names=tuple(headers)), True

    def _seal(self, endpoint: WebhookEndpoint, secrets: WebhookSecrets) -> Sealed:
        return seal_secrets(self._sealing, secrets, place_of(endpoint.workspace_id, endpoint.id))

    def _open(self, tx: Tx, endpoint: WebhookEndpoint) -> WebhookSecrets:
        sealed = NotFound.unless(
            rows.find_sealed(tx, endpoint.workspace_id, endpoint.id), "webhook"
        )
        place = place_of(endpoint.workspace_id, endpoint.id)
        return open_secrets(self._sealing, Sealed(*sealed), place)


def _find_delivery(tx: Tx, principal: Principal, delivery_id: DeliveryId) -> Delivery:
    delivery = None
    if is_id("dlv", delivery_id):
        delivery = delivery_rows.find_delivery(tx, principal.workspace_id, delivery_id)
    # The deliveries of a deleted endpoint are removed later, by a task: until then they must not be found.
    if delivery is None or not rows.find_endpoint(tx, delivery.workspace_id, delivery.webhook_id):
        raise NotFound("There is no such delivery.")
    return delivery


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
