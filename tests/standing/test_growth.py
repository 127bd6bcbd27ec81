"""Every parser of a part of a request takes time linear in its size; see also tests/operation."""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pytest
from pydantic import BaseModel
from starlette.requests import Request

from keystead.api.bodies.documents import Batch, NewDocument
from keystead.api.documents import MAX_BATCH_VALUES
from keystead.api.routes import OPERATIONS
from keystead.client.folders.files import title_of
from keystead.developer_area.sign_in import cookies, kept_forms
from keystead.developer_area.web import forms
from keystead.developer_area.web.navigation import own_path
from keystead.domain import (
    documents,
    instants,
    portal,
    scopes,
    search,
    time_zones,
    token,
    users,
)
from keystead.domain import keys as key_rules
from keystead.domain.destinations import Destinations
from keystead.domain.errors import TooLarge
from keystead.domain.ids import UserId
from keystead.domain.scopes import ScopeCatalog
from keystead.gate.fast_path import ForwardAuthFastPath, RequiredScopes
from keystead.http import basic, form_body, json_body, paging, redaction
from keystead.http.asgi import Header, Message
from keystead.http.bearer import read_bearer
from keystead.http.body import DOCUMENT_LIMIT, JSON_LIMIT, KIB, MAX_BODY
from keystead.http.client import parse_proxies, read_client
from keystead.http.head import Head, check_head
from keystead.integrations.guard import RequestHead, is_identity, wsgi_head
from keystead.operation.logs import to_line
from tests.support.asgi import HOST, scope_of
from tests.support.gate import FORM
from tests.support.growth import WORST, Act, growth, pumped
from tests.support.growth_inputs import BODIES, FIELD, QUERY, names

FORM_BYTES: Final = 64 * KIB
PROXIES: Final = parse_proxies(["127.0.0.1"])
PUMPS: Final = (
    *(
        ",",
        ", ",
        ",a",
        ",a ",
        " ",
        "\t",
        ";",
        "; ",
        "=",
        "a=",
        "a=b;",
        '"',
        "\\",
        '\\"',
        "a",
        "A",
        "0",
        "ab ",
    ),
    *(
        "%",
        "%4",
        "%41",
        "+",
        "&",
        "a&",
        "a=b&",
        "/",
        "//",
        "../",
        ":",
        "::",
        "1:",
        ".",
        "1.",
        "1.1.1.1, ",
        "[",
        "]",
    ),
    *(
        "(",
        "<",
        "-",
        "_",
        "a_",
        "~",
        "@",
        "a@",
        "a.",
        "é",
        "\xa0",
        "\u0301",
        "#",
        "# ",
        "\n",
        "\n#",
        "---\n",
        "`",
    ),
)
"""Pieces to repeat: the separators, quotes and escapes of every syntax that is parsed here."""


@dataclass(frozen=True)
class Reader:
    """A parser, its longest input, and the frames around the repeated pieces."""

    name: str
    act: Act
    longest: int
    around: tuple[tuple[str, str], ...] = (("", ""),)


def _head(name: str) -> Act:
    """Read a head with that field, as the stack does."""

    def read(value: str) -> None:
        sent = [HOST, (name.encode(), value.encode("utf-8", "replace"))]
        head = Head([field for field in sent if name != "host" or field is not HOST])
        read_client("127.0.0.1", "http", head, PROXIES, "req_fresh")
        check_head(scope_of(headers=sent), head, 1024)

    return read


def _target(value: str) -> None:
    scope = scope_of(path=f"/{value}", raw_path=f"/{value}".encode(), query_string=value.encode())
    check_head(scope, Head([HOST]), 1024)
    scopes_of_gateways[scope["raw_path"]]


scopes_of_gateways: Final = RequiredScopes(ScopeCatalog({}), "/forward-auth")
plain: Final = ForwardAuthFastPath(scopes_of_gateways, PROXIES)


def _fast_path(value: str) -> None:
    raw = value.encode("utf-8")
    sent = [HOST, (b"authorization", b"Bearer " + raw), (b"x-forwarded-for", raw)]
    plain.read(scope_of(headers=sent, raw_path=b"/forward-auth/any/" + raw))


def _authorization(value: str) -> list[Header]:
    return [(b"authorization", value.encode("utf-8", "replace"))]


def _cookie(value: str) -> None:
    request = Request(scope_of(headers=[(b"cookie", value.encode("latin-1", "replace"))]))
    cookies.find_secret(request, cookies.SESSION)
    cookies.find_bytes(request, cookies.KEPT_FORM)


def _kept(value: str) -> None:
    """Make a form again of what waits in a browser."""
    written = base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")
    request = Request(scope_of(headers=[(b"cookie", f"{cookies.KEPT_FORM}={written}".encode())]))
    kept_forms.load_form(request, UserId("usr_1"))


def _form(value: str) -> None:
    """Read a form as the Developer area does."""

    async def receive() -> Message:
        return {
            "type": "http.request",
            "body": value.encode("ascii", "replace"),
            "more_body": False,
        }

    asyncio.run(forms.read_form(Request(scope_of("POST", headers=[FORM]), receive)))


def _wsgi(value: str) -> object:
    return wsgi_head({"HTTP_AUTHORIZATION": value, "QUERY_STRING": value}).token


def _page(value: str) -> object:
    return paging.read_page(str, workspace_id="w", path="/", limit=value, cursor=value)


_CREDENTIALS: Final = (("", ""), ("Bearer ", ""), ("Bearer a", "!"), ("Basic ", "!"), ("a ", " ="))
_COOKIES: Final = (
    ("", ""),
    ('a="', '"'),
    (f'{cookies.KEPT_FORM}="', '"'),
    (f"{cookies.KEPT_FORM}=", ""),
)
_ADDRESSES: Final = (("", ""), ("https://", ""), ("https://a/", ""), ("http://[", "]"), ("a@b", ""))
READERS: Final = (
    *(
        Reader(f"head: {name}", _head(name), FIELD)
        for name in (
            *(
                "host",
                "user-agent",
                "x-forwarded-for",
                "x-forwarded-proto",
                "x-request-id",
                "content-length",
            ),
            *("cookie", "content-type", "x-anything"),
        )
    ),
    Reader("target", _target, QUERY // 2),
    Reader("fast path", _fast_path, FIELD // 2),
    Reader("bearer", lambda text: read_bearer(_authorization(text)), FIELD, _CREDENTIALS),
    Reader("basic", lambda text: basic.read_client(_authorization(text)), FIELD, _CREDENTIALS),
    Reader(
        "an application's guard",
        lambda t: RequestHead(_authorization(t)).token,
        2 * FIELD,
        _CREDENTIALS,
    ),
    Reader("a WSGI application's guard", _wsgi, 2 * FIELD, _CREDENTIALS),
    Reader(
        "a field's name",
        lambda text: is_identity(text.encode()),
        FIELD,
        (("", ""), ("x-keystead-", "")),
    ),
    Reader("cookies", _cookie, FIELD, _COOKIES),
    Reader("kept form", _kept, FIELD // 2, (("", ""), ('["usr_1","/w/a",[', '["a","b"]]]'))),
    Reader("OAuth form", lambda text: form_body.decode_form(text.encode(), 20), FORM_BYTES),
    Reader("OAuth form's type", lambda text: form_body.require_form(text.encode()), FIELD),
    Reader("form", _form, FORM_BYTES),
    Reader("JSON's type", json_body.require_json, FIELD, (("", ""), ("application/json;", ""))),
    Reader("cursor and limit", _page, QUERY),
    Reader(
        "token", token.parse, FIELD, (("", ""), ("ks_", ""), ("ks_02tcRIyrxLXTR81B3dqdOx_", ""))
    ),
    Reader(
        "instant", instants.parse_instant, JSON_LIMIT, (("", ""), ("2027-01-31T12:00:00.", "Z"))
    ),
    Reader("scope", scopes.is_scope, JSON_LIMIT, (("", ""), ("documents:", ""))),
    Reader("description", key_rules.check_description, JSON_LIMIT),
    Reader("search of keys", key_rules.check_query, QUERY),
    Reader("email", users.check_email, JSON_LIMIT, _ADDRESSES),
    Reader("time zone", time_zones.check_time_zone, FORM_BYTES),
    Reader(
        "return URL",
        lambda text: portal.check_return_url(text, ["https://a"]),
        JSON_LIMIT,
        _ADDRESSES,
    ),
    Reader("webhook's URL", Destinations().read, JSON_LIMIT, _ADDRESSES),
    Reader("own path", own_path, FORM_BYTES, (("", ""), ("/w/", ""))),
    Reader("query of a search", search.parse_query, QUERY),
    Reader("words of a text", lambda text: search.index_terms(text, text), 64 * KIB),
    Reader(
        "document",
        lambda text: documents.check_document(documents.DocumentDraft("a", text, text, text)),
        64 * KIB,
    ),
    Reader(
        "title of Markdown",
        lambda t: title_of(t, "a.md", True),
        64 * KIB,
        (("", ""), ("# a", "b"), ("---\n", "")),
    ),
    Reader("redaction", redaction.redacted, FIELD),
    Reader("log line", lambda text: to_line({"event": text}), FIELD),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_reading_a_part_is_linear(reader: Reader) -> None:
    """Repeated to its longest size with any piece, in any of its frames, no text takes longer."""
    for before, after in reader.around:
        for pump in PUMPS:
            worst = growth(reader.act, pumped(pump, before, after), reader.longest)
            assert worst <= WORST, f"{before!r} + {pump!r}… + {after!r} grew {worst:.1f}-fold"


# --- JSON ---


def models() -> set[type[BaseModel]]:
    """Return the bodies of all calls of the API."""
    return {operation.body for operation in OPERATIONS if operation.body is not None}


@pytest.mark.parametrize("name", BODIES)
def test_reading_a_body_is_linear(name: str) -> None:
    """Every kind of body, up to the longest of most calls and of a document."""
    assert len(models()) >= 20
    for model in models():
        worst = growth(partial(json_body.decode_model, model), BODIES[name], JSON_LIMIT)
        assert worst <= WORST, f"{model.__name__} grew {worst:.1f}-fold"
    worst = growth(
        lambda data: json_body.decode_model(NewDocument, data), BODIES[name], DOCUMENT_LIMIT
    )
    assert worst <= WORST, f"a document grew {worst:.1f}-fold"


@pytest.mark.slow
@pytest.mark.parametrize("name", BODIES)
def test_reading_a_batch_is_linear(name: str) -> None:
    """Bodies up to ten mebibytes."""
    read = lambda data: json_body.decode_model(Batch, data, MAX_BATCH_VALUES)  # noqa: E731
    worst = growth(read, BODIES[name], MAX_BODY)
    assert worst <= WORST, f"grew {worst:.1f}-fold"


def test_nothing_is_built_of_too_many_values() -> None:
    """Ten mebibytes of empty objects take little memory."""
    data = BODIES["upserts"](MAX_BODY)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            json_body.decode_model(Batch, data, MAX_BATCH_VALUES)
        assert tracemalloc.get_traced_memory()[1] < 1024 * KIB
    finally:
        tracemalloc.stop()


def test_reading_attributes_is_linear() -> None:
    """Attributes that are wide or deep."""
    made = {
        "wide": lambda size: {str(number): number for number in range(size // 10)},
        "list": lambda size: {"a": list(range(size // 5))},
    }
    for name, make in made.items():
        assert growth(documents.attributes_fault, make, DOCUMENT_LIMIT) <= WORST, name


# --- the measure itself ---


def quadratic_names(data: bytes) -> None:
    """Check for repeated names as it was done before."""
    found = [name for name, _ in json.loads(data, object_pairs_hook=list)]
    next(name for name in found if found.count(name) > 1)


def quadratic_unquoting(text: str) -> None:
    """Remove the first character until nothing is left, as unquoting of cookies once did."""
    while text:
        text = text[1:]


@pytest.mark.parametrize(
    ("act", "make", "longest"),
    [
        (quadratic_names, names, JSON_LIMIT),
        (quadratic_unquoting, pumped("\\"), 128 * KIB),
        (
            lambda text: [text[:place].count("a") for place in range(len(text))],
            pumped("a"),
            FIELD // 2,
        ),
    ],
)
def test_a_quadratic_reader_is_caught(act: Act, make: Callable[[int], Any], longest: int) -> None:
    """Parsers that are known to be slow are found slow."""
    assert growth(act, make, longest) > WORST


def test_a_linear_reader_is_not_caught() -> None:
    """The control, with a parser whose time can be measured."""
    assert growth(Counter, pumped("a"), 2048 * KIB) <= WORST
