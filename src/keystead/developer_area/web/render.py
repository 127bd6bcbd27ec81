"""Rendering with Jinja2: always escaped, failing on undefined names; and the compression of pages."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any, Final

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from typing_extensions import override

from keystead.developer_area.web.assets import Assets, accepts_gzip
from keystead.developer_area.web.brand import Brand
from keystead.developer_area.web.contexts import Page

_LEVEL: Final = 4
"""A page of 50 keys takes a millisecond, and is a twentieth smaller at the highest level."""
TEMPLATES: Final = Path(__file__).parents[1] / "templates"


class _MemoryCache(BytecodeCache):
    """Compiled templates, in memory for the whole process."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType] = {}

    @override
    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    @override
    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._code[bucket.key, bucket.checksum] = bucket.code


_CACHE: Final = _MemoryCache()


class Renderer:
    """Renders pages to responses."""

    def __init__(self, brand: Brand, plans_url: str | None = None) -> None:
        self.assets = Assets(brand)
        self.environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            bytecode_cache=_CACHE,
        )
        self.environment.globals = {
            "asset": self.assets.url,
            "brand": brand,
            "plans_url": plans_url,
        }

    def __call__(
        self, page: Page, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> HTMLResponse:
        """Return the page as a response that no cache stores."""
        context = {name: getattr(page, name) for name in _field_names(type(page))}
        html = self.environment.get_template(page.template).render(context)
        return HTMLResponse(html, status, {"cache-control": "no-store", **(headers or {})})


def compress(response: Response, request: Request) -> Response:
    """Compress a page for a browser that accepts gzip. Not for a page with a secret that stays the same (BREACH)."""
    if isinstance(response, HTMLResponse):
        response.headers["vary"] = "accept-encoding"
        if accepts_gzip(request):
            response.body = gzip.compress(response.body, _LEVEL, mtime=0)
            response.headers["content-encoding"] = "gzip"
            response.headers["content-length"] = str(len(response.body))
    return response


@cache
def _field_names(page: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(page))
