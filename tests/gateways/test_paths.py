"""One reading of a path: whatever an application makes of it, the scope of that route was needed."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest

from tests.gateways.conftest import Site
from tests.support.gateways import EACH, TRAEFIK, Gateway, running
from tests.support.raw_http import Recorder, ask, bearer
from tests.support.server_process import ServerProcess

NESTED: Final = (
    "/=any", "/documents=documents:read", "/documents.csv=documents:read", "/documents/tasks=documents:write",
    "/imports=documents:write", "GET:/notes=documents:read", "POST:/notes=documents:write",
)  # fmt: skip
"""Routes that lie within one another, and one whose methods differ."""
PROTECTED: Final = ("/imports", "/documents/tasks")
"""What a key for `documents:read` alone must never reach."""
DOTS: Final = (
    "..",
    "%2e%2e",
    "%2E%2E",
    ".%2e",
    "%2e.",
    "%252e%252e",
    "%c0%ae%c0%ae",
    "..;",
    "..;x",
)
SLASHES: Final = ("/", "%2f", "%2F", "%5c", "\\", "//", "/./", "%c0%af", "%252f", ";/", "%3b/")


def resolved(path: str) -> str:
    """The path as an application reads it that decodes, drops parameters, merges slashes and resolves dots."""
    for _ in range(3):
        path = unquote(path).replace("\\", "/")
    path = "/".join(
        part.partition(";")[0].rstrip(". ") or ("" if part.strip(".") else part)
        for part in path.split("/")
    )
    return posixpath.normpath(re.sub("/+", "/", f"/{path}"))


APPLICATIONS: Final[dict[str, Callable[[str], str]]] = {
    "raw": lambda path: path,
    "raw, a format at the end": lambda path: re.sub(r"\.\w+$", "", path),
    "decoded": unquote,
    "normal": resolved,
    "raw, any case": str.lower,
    "normal, any case": lambda path: resolved(path).lower(),
    "normal, upper case": lambda path: resolved(path).upper().lower(),
}
"""How applications read the path that reaches them: as it is sent, made normal, and without regard to case."""


def reaches(reading: str, prefix: str) -> bool:
    """Whether an application that compares the start of the path, or whole parts of it, is at that route."""
    return reading == prefix or reading.startswith(f"{prefix}/")


def spellings(prefix: str) -> Iterator[str]:
    """Paths that some program could take for one under `prefix`, or that begin so and could be taken for another."""
    parent, _, last = prefix.rpartition("/")
    for slash in SLASHES:
        yield f"{parent}{slash}{last}/a"
        yield f"{prefix}{slash}a"
        for dots in DOTS:
            yield f"{prefix}{slash}{dots}/documents/x"
            yield f"{prefix}/a{slash}{dots}/{dots}/documents/x"
            yield f"{prefix}/{dots}{slash}documents/x"
            yield f"/documents/{dots}{slash}{prefix[1:]}/a"
            yield f"/documents{slash}{dots}{prefix}/a"
            yield f"/account/a/{dots}/{dots}{prefix}/a"
    for end in ("", "/", "/a", "?a", "/?a", ";x/a", ";/a", "%3bx/a", "%00", "%00/a", "%20/a", "./a", "/.", "/..",
        "%23/a",         "#/a", "%3f/a", "%09/a", "%0a", "%0d%0a/a", "\\a", "%5ca", "%", "%2", "%zz/a", ".json",
        ".json?a", ".json/a"):  # fmt: skip
        yield f"{prefix}{end}"
        yield f"{prefix.upper()}{end}"
        yield f"{prefix.title()}{end}"
    for place in range(1, len(prefix)):
        yield f"{prefix[:place]}%{ord(prefix[place]):02x}{prefix[place + 1 :]}/a"
    yield prefix.replace("s", "%c5%bf") + "/a"
    yield prefix.replace("k", "%e2%84%aa") + "/a"
    yield prefix.replace("s", "\u017f").encode().decode("latin-1") + "/a"
    yield f"http://app.example.com{prefix}/a"
    yield f"http://app.example.com/documents/..{prefix}/a"


@dataclass
class Passing:
    """A gateway and what has come through it."""

    gateway: Gateway
    port: int
    application: Recorder
    token: str

    def passed(self, path: str, method: str = "GET") -> str | None:
        """The path as the application got it, None when the request was refused."""
        before = len(self.application.requests)
        status = ask(self.port, path, [bearer(self.token)], method=method).status
        reached = self.application.requests[before:]
        assert (status == 200) == bool(reached), (path, status)
        assert status == 200 or 400 <= status < 500, (path, status)
        return reached[0].path.partition("?")[0] if reached else None


@pytest.fixture(scope="module", params=EACH)
def nested(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    keystead: ServerProcess,
    behind: Recorder,
    reader: str,
) -> Iterator[Passing]:
    """Each gateway with routes that lie within one another."""
    folder: Path = tmp_path_factory.mktemp("nested")
    with running(request.param, folder, keystead.port, behind.port, routes=NESTED) as port:
        yield Passing(request.param, port, behind, reader)


def betrayed(passing: Passing, prefix: str) -> list[tuple[str, str]]:
    """The spellings that came through to what an application takes for a path under `prefix`, and how it reads them."""
    return [
        (path, kind)
        for path in spellings(prefix)
        if (seen := passing.passed(path)) is not None
        for kind, read in APPLICATIONS.items()
        if reaches(read(seen), prefix)
    ]


@pytest.mark.parametrize("prefix", ["/imports"])
def test_no_path_is_two(site: Site, prefix: str) -> None:
    """With the guide's routes no spelling brings a key without the scope to a protected path, however it is read."""
    passing = Passing(site.gateway, site.port, site.application, site.token)
    assert betrayed(passing, prefix) == []


@pytest.mark.parametrize("prefix", PROTECTED)
def test_no_path_is_two_where_routes_lie_within_one_another(nested: Passing, prefix: str) -> None:
    """The same where the path around a protected one may be read."""
    assert betrayed(nested, prefix) == []


def test_the_spellings_find_a_gateway_that_looks_at_prefixes_alone() -> None:
    """Each kind of application is reached past a judge that compares the start of the raw path."""

    def judge(path: str) -> bool:
        return path.startswith("/documents/")

    passed = [path for path in spellings("/imports") if judge(path)]
    found = {
        kind for path in passed for kind, read in APPLICATIONS.items() if reaches(read(path), "/imports")
    }  # fmt: skip
    assert found == {"normal", "normal, any case", "normal, upper case"}
    started = [path for path in spellings("/imports") if reaches(path, "/imports")]
    assert len([path for path in started if reaches(resolved(path), "/documents")]) > 10


@pytest.mark.parametrize(
    "path",
    [
        "/", "/else", "/documentsx", "/document", "/imports.json", "/imports-old", "/xdocuments/a",
        "/_keystead", "/_keystead/any", "/forward-auth/any", "/keystead", "/healthz",
    ],
)  # fmt: skip
def test_what_no_route_names_is_refused(site: Site, path: str) -> None:
    """For a key that may do everything too, before Keystead is asked."""
    everything = site.keystead.token("*")
    before = site.request_count()
    got = site.ask(path, bearer(everything))
    assert got.status == 404
    if site.gateway is not TRAEFIK:
        assert got.problem() == (404, "not-found")
    assert site.request_count() == before


@pytest.mark.parametrize(
    "path",
    [
        "/documents", "/documents/", "/documents/a.b/c..d", "/documents/a%20b", "/documents/%C3%A9%E4%B8%AD",
        "/documents?x=..%2f..//\\", "/Documents/a", "/documents/a:b@c,d=e+f&g!$'()*~_-", "/documents/%5Ba%5D%40",
        "/documents/.hidden", "/documents/a/b/", "/account", "/documents/k%C4%B1z%C4%B0",
    ],
)  # fmt: skip
def test_usual_paths_pass(site: Site, path: str) -> None:
    """Unchanged, apart from the case of escapes and from characters that the gateway may escape or not."""
    reached = site.allowed(path)
    assert unquote(reached.path) == unquote(path)


def test_a_format_is_refused_unless_it_is_named(nested: Passing) -> None:
    """Rails and others answer `/notes.json` as `/notes`: it falls to no shorter path, but may have its own route."""
    for path in ("/imports.json", "/notes.json", "/NOTES.xml/a", "/documents/tasks.csv"):
        assert nested.passed(path) is None
    for path in ("/documents.csv", "/documents/a.json", "/else.json"):
        assert nested.passed(path) == path


def test_methods_need_the_scope_that_they_name(nested: Passing) -> None:
    """A method that a path's routes leave out is refused there, and falls to no shorter path."""
    for path in ("/notes", "/notes/a", "/NOTES"):
        assert nested.passed(path) == path
        assert nested.passed(path, "HEAD") == path
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            assert nested.passed(path, method) is None
    assert nested.passed("/notesx", "PUT") == "/notesx"


@pytest.mark.parametrize("field", ["X-HTTP-Method-Override", "x_http_method", "X.Method.Override"])
def test_no_field_replaces_the_method(nested: Passing, field: str) -> None:
    """Where methods need different scopes, the application gets no field that some take for the method."""
    assert ask(nested.port, "/notes", [bearer(nested.token), (field, "DELETE")]).status == 200
    reached = nested.application.requests[-1]
    assert "DELETE" not in repr(reached.headers)
