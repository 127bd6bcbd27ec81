"""The fast path of introspection answers nothing that the whole path would not, and the very same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystead.gate import introspection
from keystead.gate.introspection import Introspection
from keystead.http.asgi import Header
from keystead.http.client import parse_networks
from tests.support.asgi import HOST, Response, scope_of
from tests.support.gate import FORM, OPERATOR, GateApplication, basic, bearer, gate_of
from tests.support.installations import SandboxInstallation, text_of
from tests.support.request_heads import FIELDS, HOSTS, PEER, PROXY, VALUES, mostly

PROMISED = ("content-type", "cache-control", "server", "www-authenticate", "allow")
_COUNTED: list[tuple[str, str, int]] = []


class Both:
    """One application twice: as it is, and with its fast path taken away."""

    def __init__(self, gate: GateApplication) -> None:
        def make() -> Introspection:
            return Introspection(
                gate.sandbox.services,
                "https://keys.example.com",
                proxies=parse_networks([PROXY]),
                on_response=lambda *told: _COUNTED.append(told[:3]),
            )

        self.gate, self.fast, self.whole = gate, make(), make()
        self.whole._fast_path.accepts = lambda scope: False  # type: ignore[method-assign]

    def ask(self, scope: dict[str, Any], body: bytes) -> tuple[Response, Response]:
        """Both answers to the same question."""
        answers = []
        for app in (self.fast, self.whole):
            self.gate.app = app
            answers.append(self.gate.send({**scope, "state": {}}, body))
        return answers[0], answers[1]

    def ask_plainly(self, field: Header, body: bytes) -> Response:
        """The fast application's answer to an ordinary question."""
        return self.ask(posted([HOST, field, FORM, length_of(body)]), body)[0]


@pytest.fixture(scope="module")
def both(shared_sandbox: SandboxInstallation, runner: asyncio.Runner) -> Both:
    """The pair, over the file's installation."""
    return Both(gate_of(shared_sandbox, runner))


@pytest.fixture(scope="module")
def fields(both: Both) -> list[Header]:
    """What credentials are sent as: good ones, and some that are not."""
    (id, good), (gone, dead) = both.gate.credential(), both.gate.credential()
    both.gate.sandbox.services.credentials.revoke(gone, OPERATOR)
    texts = (good, dead, both.gate.token(), "x", "é")
    plain = [bearer(text)[0] for text in texts]
    return [*plain, basic(id, good), basic(gone, good), (b"authorization", b"Digest a=b")]


@pytest.fixture(scope="module")
def forms(shared_sandbox: SandboxInstallation) -> list[str]:
    """What is asked about: a good token, and other things."""
    tenant = shared_sandbox.tenant()
    good, dead = (text_of(shared_sandbox.key(tenant)) for _ in range(2))
    gone = shared_sandbox.key(tenant)
    shared_sandbox.services.keys.revoke(tenant, gone.key.id)
    told = f"token={good}"
    return [
        *(
            told,
            told + "&token_type_hint=x",
            f"token={text_of(gone)}",
            "token=x",
            f"tok%65n={dead}",
        ),
        *("", "token=", "token=a&token=b", "token=%ff", "token=é", "token=" + "a" * 2_000, "{}"),
    ]


def posted(headers: list[Header], **more: Any) -> dict[str, Any]:
    """A question."""
    return scope_of(more.pop("method", "POST"), more.pop("path", "/introspect"), headers, **more)


def length_of(body: bytes) -> Header:
    """What a client announces."""
    return b"content-length", str(len(body)).encode()


TYPE = mostly(
    b"application/x-www-form-urlencoded",
    b"application/x-www-form-urlencoded; charset=UTF-8",
    b"application/json",
    b"",
)
MORE = mostly(
    [],
    [(b"user-agent", b"search/1")],
    [(b"user-agent", b"a\nb")],
    [(b"x-forwarded-for", b"203.0.113.9")],
    [(b"x-forwarded-for", b"198.51.100.1, 203.0.113.9"), (b"x-forwarded-proto", b"https")],
    [(b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"http")],
    [(b"content-length", b"5")],
    [(b"authorization", b"Bearer x")],
    [(b"x-big", b"y" * 40_000)],
    [(b"transfer-encoding", b"gzip, chunked")],
    [(b"x-%d" % number, b"y") for number in range(95)],
    [(b"x-%d" % number, b"y") for number in range(99)],
)
PATH = mostly("/introspect", "/introspect/", "/introspect/x", "/introspect\0")
RAW = mostly(None, b"/%69ntrospect", b"/introspect" + b"/" * 8192)
QUERY = mostly(b"", b"a=b", b"access_token=x", b"q" * 8192, b"%00")
METHOD = mostly("POST", "GET", "PUT", "TRACE", "LOCK")


@settings(max_examples=100)
@given(data=st.data())
def test_both_paths_agree(
    both: Both, fields: list[Header], forms: list[str], data: st.DataObject
) -> None:
    """For any question: the same status, the same fields, the same body, counted alike."""
    draw = data.draw
    body = draw(mostly(*forms)).encode()
    field = draw(mostly(*fields))
    length = [length_of(body)] if draw(mostly(True, False)) else []
    headers = [*draw(HOSTS), field, (b"content-type", draw(TYPE)), *length, *draw(MORE)]
    raw = draw(RAW)
    scope = posted(
        headers,
        method=draw(METHOD),
        path=draw(PATH),
        query_string=draw(QUERY),
        client=draw(PEER),
        scheme=draw(mostly("http", "https")),
        http_version=draw(mostly("1.1", "1.0")),
        **({} if raw is None else {"raw_path": raw}),
    )
    agree(both, scope, body)


UNUSUAL: list[dict[str, Any]] = [
    {},
    {"client": ("198.51.100.5", "5")},
    {"client": ("198.51.100.5", "5"), "scheme": "https"},
    {"client": (PROXY, "5")},
    {"client": (PROXY, "5"), "more": [(b"x-forwarded-proto", b"https")]},
    {"client": (PROXY, "5"), "more": [(b"x-forwarded-for", b"127.0.0.1")]},
    {"client": None},
    {"method": "GET"},
    {"query_string": b"access_token=x"},
    {"raw_path": b"/introspect/"},
    {"path": "/introspect/x"},
    {"host": b"a b"},
    {"host": b""},
    {"more": [HOST]},
    {"more": [(b"authorization", b"Bearer x")]},
    {"more": [(b"x-%d" % number, b"y") for number in range(97)]},
    {"more": [(b"expect", b"100-continue")]},
    {"type": b"application/json"},
    {"type": b"application/x-www-form-urlencoded;charset=UTF-8"},
    {"type": b"application/x-www-form-urlencoded; charset=UTF-16"},
    {"length": b"4096"},
    {"length": b"99999999999"},
    {"length": b"-1"},
    {"length": b""},
]
"""What may be otherwise in a plain question, one thing at a time."""


@pytest.mark.parametrize("change", UNUSUAL, ids=str)
def test_one_thing_unusual(
    both: Both, fields: list[Header], forms: list[str], change: dict[str, Any]
) -> None:
    """Each check that the whole path makes of a head is made on the fast one, or left to the whole one."""
    more, body = dict(change), forms[0].encode()
    both.ask_plainly(fields[0], body)
    headers = [
        (b"host", more.pop("host", HOST[1])),
        fields[0],
        (b"content-type", more.pop("type", FORM[1])),
        (b"content-length", more.pop("length", length_of(body)[1])),
        *more.pop("more", []),
    ]
    agree(both, posted(headers, **more), body)


@pytest.mark.parametrize("name", [*FIELDS, "authorization"])
@pytest.mark.parametrize("peer", ["127.0.0.1", PROXY])
def test_one_hostile_field(
    both: Both, fields: list[Header], forms: list[str], name: str, peer: str
) -> None:
    """Whatever a field holds, the fast path answers as the whole one, or leaves the question to it."""
    body = forms[0].encode()
    both.ask_plainly(fields[0], body)
    for value in VALUES:
        sent = dict([HOST, fields[0], FORM, length_of(body)])
        sent[name.encode()] = sent.get(name.encode(), b"") * (name == "authorization") + value
        agree(both, posted(list(sent.items()), client=(peer, "5")), body)


def agree(both: Both, scope: dict[str, Any], body: bytes) -> None:
    """Both answer a question alike, and count it alike."""
    fast, whole = both.ask(scope, body)
    assert (fast.status, fast.body) == (whole.status, whole.body)
    for name in PROMISED:
        assert values_of(fast, name) == values_of(whole, name)
    assert _COUNTED[-2] == _COUNTED[-1]


def values_of(answer: Response, name: str) -> list[bytes]:
    """All values of a field."""
    return [value for key, value in answer.headers if key == name.encode()]


@pytest.mark.parametrize("which", [0, 2])
def test_what_is_answered_is_lean(
    both: Both, fields: list[Header], forms: list[str], which: int
) -> None:
    """The two paths are two: a plain question does not reach the stack, whether the token stands or not."""
    both.ask_plainly(fields[0], forms[which].encode())
    answer = both.ask_plainly(fields[0], forms[which].encode())
    assert answer.status == 200
    assert answer.json()["active"] is (which == 0)
    assert answer.header("x-request-id") is None
    whole = both.ask(posted([HOST, fields[0], FORM]), forms[which].encode())[1]
    assert whole.header("x-request-id") is not None


def test_the_log_knows_who_asks(
    both: Both, forms: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each calling credential is logged immediately, and at most once a minute after that."""
    seconds = [1_000.0]
    monkeypatch.setattr(introspection, "monotonic", lambda: seconds[0])
    body = forms[0].encode()
    one, other = (bearer(both.gate.credential()[1])[0] for _ in range(2))

    def logged(field: Header) -> bool:
        return both.ask_plainly(field, body).header("x-request-id") is not None

    assert [logged(one), logged(one), logged(other), logged(one), logged(other)] == [
        *(True, False, True, False, False),
    ]
    seconds[0] += introspection.LOG_SECONDS
    assert [logged(one), logged(one), logged(other)] == [True, False, True]


def test_one_use_for_one_question(
    both: Both, shared_sandbox: SandboxInstallation, fields: list[Header]
) -> None:
    """On either path a question is one use of the key, with the line in the log and without."""
    tenant = shared_sandbox.tenant()
    key = shared_sandbox.key(tenant)
    body = f"token={text_of(key)}".encode()
    field = bearer(both.gate.credential()[1])[0]
    for _ in range(3):
        fast, whole = both.ask(posted([HOST, field, FORM, length_of(body)]), body)
        assert (fast.status, whole.status) == (200, 200)
    shared_sandbox.flush()
    today = shared_sandbox.clock.now().date()
    assert shared_sandbox.services.usage.per_day(tenant, key.key.id, today) == {today: 6}
