"""Guessing passwords over HTTP."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode, urljoin

import httpx2

from keystead.http.client import parse_proxies
from keystead.http.problems import Problems
from keystead.http.stack import Stack
from tests.support.browser import ORIGIN, Browser
from tests.support.surface import FurnishedArea

ADDRESSES = [f"198.51.100.{number}" for number in range(1, 51)]


class Guesser:
    """A client without a session on the sign-in page, behind a trusted proxy."""

    def __init__(self, furnished: FurnishedArea, peer: str = "127.0.0.1") -> None:
        inner = furnished.area.app._app  # type: ignore[attr-defined]
        proxies = parse_proxies(["127.0.0.1/32"])
        self.app = Stack(inner, Problems(ORIGIN), proxies=proxies)
        self.peer = peer
        self.browser = Browser(self.app)
        page = self.browser.open("/sign-in", **{"X-Forwarded-Proto": "https"})
        fields = page.tree.all("input", name="form_token")
        self.form_token = fields[0].attributes["value"]

    def guess(self, email: str, password: str, address: str) -> int:
        """Return the status of an attempt that claims to come from that address."""
        fields = {"form_token": self.form_token, "email": email, "password": password}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Sec-Fetch-Site": "same-origin",
            "X-Forwarded-For": address,
            "X-Forwarded-Proto": "https",
        }
        return asyncio.run(self._post(urlencode(fields), headers)).status_code

    async def _post(self, body: str, headers: dict[str, str]) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.app, client=(self.peer, 5555))
        async with httpx2.AsyncClient(transport=transport, cookies=self.browser.cookies) as client:
            target = urljoin(ORIGIN, "/sign-in")
            return await client.post(target, content=body, headers=headers)
