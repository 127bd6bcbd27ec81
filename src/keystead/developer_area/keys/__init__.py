"""The pages of API keys, each by what it is for."""

from __future__ import annotations

from keystead.developer_area.keys.changes import KeyChanges
from keystead.developer_area.keys.listing import KeyList
from keystead.developer_area.keys.shared import KeyDesk
from keystead.developer_area.keys.views import KeyDetail, KeyEnding, KeyMaking
from keystead.developer_area.sign_in.session import Sessions
from keystead.developer_area.web.render import Renderer
from keystead.services import Services


class KeyPages:
    """What a person does with keys."""

    def __init__(
        self,
        services: Services,
        render: Renderer,
        sessions: Sessions,
        *,
        base_url: str,
        plans_url: str | None,
    ) -> None:
        desk = KeyDesk(services, render, sessions, base_url=base_url, plans_url=plans_url)
        self.all = KeyList(desk)
        self.new = KeyMaking(desk)
        self.one = KeyDetail(desk)
        self.change = KeyChanges(desk)
        self.end = KeyEnding(desk)
