"""`keystead gateway`: its output is the guide's files, and no option can add a line of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from keystead.cli.outcome import Exit
from keystead.operation import gateways
from keystead.operation.gateways import AMBIGUOUS, AMBIGUOUS_URI, parse_routes
from tests.cli.conftest import Keystead

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "gateways"
FILES = {
    "nginx": "nginx.conf",
    "caddy": "Caddyfile",
    "traefik": "traefik-routes.yml",
    "traefik --static": "traefik.yml",
    "envoy": "envoy.yaml",
}
USUAL = {
    "--public-url": "https://keys.example.com",
    "--application": "http://127.0.0.1:9000",
    "--scopes": "/documents=documents:read",
}
PARSERS: dict[str, Callable[[str], object]] = {
    "address": gateways.parse_address,
    "listen": gateways.parse_listen,
    "origin": gateways.parse_origin,
    "file": gateways.parse_file,
    "routes": lambda text: parse_routes([text]),
}


def printed(run: Keystead, product: str, **options: str) -> str:
    """Return the command's output with these options and the usual ones."""
    arguments = USUAL | {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    ended = run("gateway", *product.split(), *(word for pair in arguments.items() for word in pair))
    assert ended.code == Exit.DONE, ended.err
    return ended.out


@pytest.mark.parametrize("product", FILES)
def test_the_guides_files_are_the_commands_output(run: Keystead, product: str) -> None:
    """Each file of the guide is the output of the command that its page shows."""
    page = (GUIDE / "README.md").read_text()
    (command,) = re.findall(
        r"```sh\nkeystead gateway nginx (.*?) > nginx.conf\n```", page, re.DOTALL
    )
    words = command.replace("\\\n", " ").split()
    ended = run("gateway", *product.split(), *words)
    assert (ended.code, ended.err) == (Exit.DONE, "")
    assert ended.out == (GUIDE / FILES[product]).read_text(), (
        f"write the output of `keystead gateway {product}` to {FILES[product]}"
    )


BAD = {
    "--public-url": ["keys.example.com", "https://keys.example.com/x", "https://a'b", "ftp://a", "https://a b", "https://a;b",
        ""],
    "--application": [
        "127.0.0.1:9000", "http://127.0.0.1:9000/app", "http://user@127.0.0.1", "http://a:b", "http://a:0",
        "http://a:65536", "http://127.0.0.1.1", "http://[127.0.0.1]", "http://a;}", "http://a\nb", "http://-a",
        "unix:/x",
    ],
    "--scopes": [
        "documents=documents:read", "/documents", "/documents=", "/documents=*", "/documents=read",
        "/a=documents:read;x",
        "/a/../b=any", "/a//b=any", "/a b=any", "/a\nb=any", "/a{b=any", "/a$b=any", "/a'b=any", "/a\"b=any",
        "/a`b=any",
        "/a%2fb=any", "/a;b=any", "/a\\b=any", "/./a=any", "/a.=any", "get:/a=any", "GET POST:/a=any", ":/a=any",
        "/" + "a" * 300 + "=any", "/é=any", "/a=any\n",
    ],
    "--keystead": ["127.0.0.1:8080", "http://127.0.0.1:8080/x", ""],
    "--listen": ["8000", "localhost:8000", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "::1:8000", "0.0.0.0:80;"],
    "--origins": ["app.example.com", "https://app.example.com/page", "*", "null", "https://a\"b"],
    "--ca": ["relative.pem", "/a b", "/a;b", "/a\nb", "/a'b", "/$b"],
}  # fmt: skip


@pytest.mark.parametrize("option", BAD)
def test_bad_values_are_refused(run: Keystead, option: str) -> None:
    """One line names the option, and no configuration is printed."""
    for value in BAD[option]:
        for product in ("nginx", "caddy"):
            options = USUAL | {option: value}
            ended = run("gateway", product, *(f"{name}={text}" for name, text in options.items()))
            assert (ended.code, ended.out) == (Exit.USAGE, ""), value
            assert re.fullmatch(rf"keystead: {option}: .+\n", ended.err), ended.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--scopes", "/a=any", "--scopes", "/A/=any"], "given twice"),
        (["--scopes", "GET:/a=any", "--scopes", "HEAD:/a=any"], "given twice"),
        (["--scopes", "/a=any", "--tls-cert", "/a.pem"], "must be used together"),
        (["--scopes", "/a=any", "--keystead", "http://a", "https://b"], "all be http"),
        (["--scopes", "/a=any", "--max-body", "0"], "--max-body"),
        (["--scopes", "/a=any", "--keystead", "https://127.0.0.1"], "of host names"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(
    run: Keystead, words: list[str], says: str
) -> None:
    """The message names the option."""
    arguments = ["--public-url", "https://k", "--application", "http://a", *words]
    ended = run("gateway", "nginx", *arguments)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert says in ended.err


@given(st.sampled_from(sorted(PARSERS)), st.text(st.characters(codec="utf-8"), max_size=60))
@example("routes", "/a=any\n")
@example("address", "http://a\n")
@example("listen", "127.0.0.1:80\n")
@example("file", "/a\n")
def test_no_value_holds_a_character_of_the_languages(kind: str, text: str) -> None:
    """No accepted value has a quote, space, brace, line end or comment in it."""
    try:
        parsed = PARSERS[kind](text)
    except ValueError:
        return
    values = [str(parsed)] if kind == "file" else re.findall(r"'([^']*)'", repr(parsed))
    assert not re.search(r"""[\s"'`{}$;#\\|()*%<>]""", "".join(values))


def test_every_file_is_well_formed(run: Keystead) -> None:
    """The YAML files load, and a custom scope is named on standard error."""
    options = {"scopes": "GET,POST:/a.b/c=reports:run", "origins": "http://[::1]:3000"}
    for product, file in FILES.items():
        text = printed(
            run, product, **options, listen="[::1]:8443", keystead="http://keystead:8080"
        )
        assert "{{" not in re.sub(r"\}\}|\{\{", "", text)
        if file.endswith("l"):
            assert yaml.safe_load(text)
    arguments = [
        word for pair in (USUAL | {"--scopes": options["scopes"]}).items() for word in pair
    ]
    assert "reports:run" in run("gateway", "nginx", *arguments).err


def test_the_problems_are_the_servers() -> None:
    """The responses of the gateway itself have the form of Keystead's."""
    for code, text in gateways._problems("https://keys.example.com").items():
        problem = json.loads(text)
        assert problem["code"] == code
        assert problem["type"] == f"https://keys.example.com/problems/{code}"


@pytest.mark.parametrize("byte", range(256))
def test_an_escape_is_read_one_way_or_refused(byte: int) -> None:
    """Letters, digits, path separators and controls must not be escaped; all other characters may."""
    refused = byte < 32 or byte in {127, 192, 193} or byte > 244
    refused = refused or (chr(byte) in "/;\\#?%-._~" or (byte < 128 and chr(byte).isalnum()))
    path = f"/documents/a%{byte:02x}b"
    assert bool(re.search(AMBIGUOUS, path, re.IGNORECASE)) == refused
    assert bool(re.search(AMBIGUOUS_URI, f"{path}?x")) == refused
    assert not re.search(AMBIGUOUS_URI, f"/documents?{path}")
