"""What members want to be told of by e-mail: seen and chosen, each for themselves in each of their workspaces."""

from __future__ import annotations

from collections.abc import Iterable

from keystead.domain.errors import Forbidden
from keystead.domain.ids import UserId
from keystead.domain.notification_digests import Topic, check_topics, default_topics
from keystead.domain.principals import Principal, PrincipalKind
from keystead.domain.roles import Permission
from keystead.services.authorization import Authorization
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import notification_digests as rows


class Notices:
    """Choices of one's own. Nobody chooses for others; owners and admins are told everything until they choose."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._authorization = Authorization(database, clock)

    @retry_on_conflict
    def chosen(self, principal: Principal) -> frozenset[Topic]:
        """What the acting member is told of. Forbidden for who is no member."""
        user_id = _member(principal)
        with self._database.read(principal.workspace_id) as tx:
            chosen = rows.topics_chosen(tx, principal.workspace_id)
        assert principal.role is not None  # noqa: S101 - a member has one
        return chosen.get(user_id, default_topics(principal.role))

    def choose(self, principal: Principal, topics: Iterable[str]) -> frozenset[Topic]:
        """Tells the acting member of these topics alone from now on. Invalid for a topic that there is not."""
        user_id, checked = _member(principal), check_topics(topics)
        self._choose(principal, user_id, checked)
        return checked

    @retry_on_conflict
    def _choose(self, principal: Principal, user_id: UserId, topics: frozenset[Topic]) -> None:
        with self._authorization.changing(principal) as (tx, _, _):
            rows.choose_topics(tx, principal.workspace_id, user_id, topics)


def _member(principal: Principal) -> UserId:
    if principal.kind is not PrincipalKind.MEMBER:
        raise Forbidden(Permission.READ, "Only a member is told by e-mail.")
    return UserId(principal.id)
