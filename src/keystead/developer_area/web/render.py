"""From a page's context to its HTML: Jinja2, escaping always, failing on anything that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any, Final

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from starlette.responses import HTMLResponse

from keystead.developer_area.web.assets import Assets
from keystead.developer_area.web.brand import Brand
from keystead.developer_area.web.contexts import Page

TEMPLATES: Final = Path(__file__).parents[1] / "templates"


class _Compiled(BytecodeCache):
    """What this process has compiled already, of templates that are still the same: for all looks, in memory."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Gives the bucket its code, where there is any."""
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keeps the bucket's code."""
        if bucket.code is not None:
            self._code[bucket.key, bucket.checksum] = bucket.code


_COMPILED: Final = _Compiled()


class Renderer:
    """Makes responses of pages."""

    def __init__(self, brand: Brand) -> None:
        self.assets = Assets(brand)
        self.environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            bytecode_cache=_COMPILED,
        )
        self.environment.globals = {"asset": self.assets.url, "brand": brand}

    def __call__(
        self, page: Page, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> HTMLResponse:
        """The page as a response that no cache keeps."""
        context = {name: getattr(page, name) for name in _names(type(page))}
        html = self.environment.get_template(page.template).render(context)
        return HTMLResponse(html, status, {"cache-control": "no-store", **(headers or {})})


@cache
def _names(page: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(page))
