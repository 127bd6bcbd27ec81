"""The page of each problem, at the address in its `type`: docs/problems/ as small HTML pages."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from markdown_it import MarkdownIt

from keystead.domain.errors import NotFound
from keystead.domain.product import Product
from keystead.http.asgi import Answer, Receive, Scope, Send, send_answer
from keystead.http.problems import STATUS, MethodNotAllowed, Problems

PREFIX = "/problems"
PACKAGED = "pages"
"""The folder of the pages in an installed package, next to this module."""

_INDEX = frozenset({PREFIX, f"{PREFIX}/"})
_STYLE = (
    ":root{color-scheme:light dark;font:1rem/1.6 system-ui,sans-serif}"
    "body{max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "pre{overflow-x:auto;padding:1rem;border:1px solid;border-radius:.4rem}"
    "table{border-collapse:collapse}th,td{text-align:start;padding:.2rem 1rem .2rem 0}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"public, max-age=3600"),
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'".encode(),
    ),
)
_PAGE_LINK = re.compile(r'href="([a-z-]+)\.md"')


class ProblemPages:
    """An ASGI application: GET `/problems` is the index, GET `/problems/<code>` the page of one problem."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        await send_answer(send, self.answer(scope["method"], scope["path"]))

    def answer(self, method: str, path: str) -> Answer:
        """Return the page at `path`, or a problem: 404 for an unknown page, 405 for methods except GET and HEAD."""
        name = "README" if path in _INDEX else path.removeprefix(f"{PREFIX}/")
        if path not in _INDEX and name not in STATUS:
            return self._problems.answer(NotFound("There is no such problem."))
        if method not in {"GET", "HEAD"}:
            return self._problems.answer(MethodNotAllowed("GET, HEAD"))
        return Answer(
            200, _HEADERS, _html(name, self._problems.address, self._problems.product).encode()
        )


def source(name: str) -> str:
    """Return the Markdown of a page (`README` or a code), from the installed package or the source tree."""
    return _folder().joinpath(f"{name}.md").read_text(encoding="utf-8")


def _folder() -> Traversable:
    packaged = files("keystead.http") / PACKAGED
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "docs" / "problems"


@cache
def _html(name: str, address: str, product: Product) -> str:
    markdown = source(name)
    title = markdown.partition("\n")[0].removeprefix("# ")
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = _PAGE_LINK.sub(rf'href="{address}/\1"', body)
    credit = f"<footer><small>{product.credit}</small></footer>" if product.credit else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} · {escape(product.name)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<body><main>{body}</main>{credit}</body></html>"
    )
