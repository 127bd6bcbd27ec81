"""Static files and the brand's own: read once, with URLs that change with the content, cached for a year."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from keystead.developer_area.web.brand import Brand

FOLDER: Final = Path(__file__).parents[1] / "static"
STYLESHEET: Final = "style.css"
_STYLES: Final = (
    "tokens.css",
    "base.css",
    "components.css",
    "frame.css",
    "keys.css",
    "key-list.css",
    "people.css",
    "workspace.css",
    "webhooks.css",
    "forced-colors.css",
)
"""The parts of the one stylesheet, in its order; the brand's colors come last."""
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_IMMUTABLE: Final = {
    "cache-control": "public, max-age=31536000, immutable",
    "vary": "accept-encoding",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file, plain and compressed."""

    url: str
    media_type: str
    body: bytes
    compressed: bytes


class Assets:
    """The static files of the Developer area and of the brand."""

    def __init__(self, brand: Brand) -> None:
        self._by_name = {**dict(_read_assets()), **_brand_assets(brand)}
        self._by_url = {asset.url: asset for asset in self._by_name.values()}

    def url(self, name: str) -> str:
        """Return the URL of a file in `static/`. KeyError if there is none."""
        return self._by_name[name].url

    async def serve(self, request: Request) -> Response:
        """Serve the file at the request's path; HTTPException 404 for other paths."""
        asset = self._by_url.get(request.scope["path"])
        if asset is None:
            raise HTTPException(404)
        if accepts_gzip(request):
            headers = {**_IMMUTABLE, "content-encoding": "gzip"}
            return Response(asset.compressed, media_type=asset.media_type, headers=headers)
        return Response(asset.body, media_type=asset.media_type, headers=_IMMUTABLE)


def accepts_gzip(request: Request) -> bool:
    """Return whether the client takes gzip by name (RFC 9110 section 12.5.3); a weight of 0 refuses it."""
    for part in request.headers.get("accept-encoding", "").split(","):
        coding, _, weight = part.partition(";")
        if coding.strip().lower() == "gzip":
            return weight.replace(" ", "").rstrip("0").rstrip(".") not in {"q=", "Q="}
    return False


def _read_assets() -> Iterator[tuple[str, Asset]]:
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in _TYPES and path.suffix != ".css":
            yield path.relative_to(FOLDER).as_posix(), _asset(path.name, path.read_bytes())


def _brand_assets(brand: Brand) -> dict[str, Asset]:
    parts = [*((FOLDER / name).read_text() for name in _STYLES), brand.stylesheet]
    assets = {STYLESHEET: _asset(STYLESHEET, "".join(parts).encode())}
    if brand.logo is not None:
        assets["logo"] = _asset(f"logo{brand.logo.suffix}", brand.logo.body)
    return assets


def _asset(file_name: str, body: bytes) -> Asset:
    media_type = _TYPES[Path(file_name).suffix]
    digest = hashlib.sha256(body).hexdigest()[:16]
    url = f"/static/{digest}/{file_name}"
    return Asset(url, media_type, body, gzip.compress(body, mtime=0))
