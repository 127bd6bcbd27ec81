"""White label: the pages show the product's name, logo, colours and links, and nothing active or hidden."""

from __future__ import annotations

import re
import tomllib
import zlib
from pathlib import Path

import pytest

from keystead.api.bodies.people import NewPortalSession
from keystead.bootstrap import read_brand
from keystead.developer_area import create_developer_area
from keystead.developer_area.web.assets import FOLDER
from keystead.developer_area.web.brand import MAX_LOGO_BYTES, Brand, Logo, read_logo
from keystead.domain.brand import DARK, LIGHT
from keystead.domain.product import Product
from keystead.http.problems import Problems
from keystead.http.stack import Stack
from keystead.settings import Settings
from tests.developer_area.conftest import Area
from tests.support.browser import ORIGIN, Browser, Page
from tests.support.surface import assets_of

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path d="M0 0h1v1z"/></svg>'
ACME = Brand(
    product=Product("Acme <Cloud>", credited=False),
    logo=Logo(SVG, ".svg"),
    accent="#0b6e4f",
    docs_url="https://acme.example/docs",
    product_url="https://acme.example/app",
)


def png(width: int, height: int) -> bytes:
    """Return the header of a PNG of that size."""
    sides = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    head = b"IHDR" + sides + b"\x08\x06\x00\x00\x00"
    body = len(head[4:]).to_bytes(4, "big") + head + zlib.crc32(head).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + body


def branded(area: Area, brand: Brand) -> Page:
    """Return the page of keys of a product, as its owner sees it."""
    app = Stack(
        create_developer_area(area.services, base_url=ORIGIN, brand=brand), Problems(ORIGIN)
    )
    browser = Browser(app)
    browser.submit(browser.open(area.link()), "/sign-in")
    return browser.open(area.keys_url)


def file_of(area: Area, brand: Brand, seen: Page, name: str) -> Page:
    """Return a file that the page loads, by the end of its URL."""
    app = Stack(
        create_developer_area(area.services, base_url=ORIGIN, brand=brand), Problems(ORIGIN)
    )
    (url,) = {url for url in assets_of(seen) if url.endswith(name)}
    return Browser(app).open(url, **{"Accept-Encoding": "identity"})


def test_pages_show_the_product(area: Area) -> None:
    """Title, wordmark and links are the product's; its name is text; Keystead's logo is gone."""
    seen = branded(area, ACME)
    assert seen.tree.one("title").text == "API keys · Acme <Cloud>"
    assert seen.tree.one("a", class_="brand").text == "Acme <Cloud>"
    assert seen.link("Documentation") == "https://acme.example/docs"
    assert seen.link("Back to Acme <Cloud>") == "https://acme.example/app"
    assert "Keystead" not in seen.tree.one("header").text
    assert not seen.tree.all("svg", class_="wordmark-logo")


def test_without_settings_the_pages_are_keysteads(area: Area) -> None:
    """Without settings the pages are Keystead's."""
    seen = area.signed_in().open(area.keys_url)
    assert seen.tree.one("title").text == "API keys · Keystead"
    assert not [a for a in seen.tree.all("a") if a.text.startswith(("Documentation", "Back to"))]


def test_the_logo_is_a_file_of_ours(area: Area) -> None:
    """The logo's URL depends on its content; browsers cache it, and get it unchanged."""
    seen = branded(area, ACME)
    image = seen.tree.one("img")
    assert image.attributes["alt"] == ""
    assert re.fullmatch(r"/static/[0-9a-f]{16}/logo\.svg", image.attributes["src"])
    file = file_of(area, ACME, seen, "logo.svg")
    assert file.response.content == SVG
    assert file.headers["content-type"] == "image/svg+xml"
    assert "immutable" in file.headers["cache-control"]
    assert "script-src 'self'" in file.headers["content-security-policy"]


def test_colours_end_the_one_stylesheet(area: Area) -> None:
    """A page loads one stylesheet. It ends with the product's colours, and its URL changes with them."""
    seen = branded(area, ACME)
    assert len([url for url in assets_of(seen) if url.endswith(".css")]) == 1
    file = file_of(area, ACME, seen, "style.css")
    assert file.headers["content-type"] == "text/css; charset=utf-8"
    assert file.html.endswith(ACME.stylesheet)
    other = branded(area, Brand(accent="#4f46e5"))
    assert {url for url in assets_of(seen) if url.endswith(".css")}.isdisjoint(assets_of(other))


def test_colours_hold_nothing_else() -> None:
    """What the settings add to the stylesheet are colours of both themes."""
    css = ACME.stylesheet
    assert "--accent:#0b6e4f;" in css
    assert "prefers-color-scheme:dark" in css
    assert re.fullmatch(r"[-@a-z0-9{}:;#()\s]*", css)


def test_a_dark_accent_alone_changes_only_the_dark() -> None:
    """Each of the two accents can be set alone."""
    assert Brand().stylesheet == ""
    assert Brand(accent_dark="#8b86f7").stylesheet.startswith("@media (prefers-color-scheme:dark)")
    both = Brand(accent="#4f46e5", accent_dark="#8b86f7").stylesheet
    assert "--accent:#4f46e5;" in both
    assert "--accent:#8b86f7;" in both


def test_backgrounds_are_those_of_the_stylesheet() -> None:
    """Accents are checked against the actual background colours of the pages."""
    light, dark = (FOLDER / "tokens.css").read_text().split("@media (prefers-color-scheme: dark)")
    names = ("ground", "surface", "surface-raised", "surface-sunken")
    for theme, css in ((LIGHT, light), (DARK, dark)):
        values = {
            match for name in names for match in re.findall(rf"--{name}: (#[0-9a-f]{{6}});", css)
        }
        assert values == set(theme.surfaces)


LOGOS = {
    "svg": SVG,
    "svg with a prolog": b'<?xml version="1.0"?>\n' + SVG,
    "png": png(512, 128),
}
NO_LOGOS = {
    "nothing": (b"", "neither"),
    "html": (b"<html><body>x</body></html>", "neither"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(40), "neither"),
    "script": (SVG.replace(b"<path", b"<script>x</script><path"), "<script>"),
    "handler": (SVG.replace(b"<path", b'<path onload="x"'), "onload"),
    "foreign object": (SVG.replace(b"<path", b"<foreignObject/><path"), "<foreignObject>"),
    "from elsewhere": (SVG.replace(b"<path", b'<use href="https://x.example/"/><path'), "href"),
    "entities": (b'<!DOCTYPE svg [<!ENTITY a "b">]>' + SVG, "document type"),
    "too large": (SVG + b" " * MAX_LOGO_BYTES, "64 KiB"),
    "damaged png": (png(512, 128)[:20], "damaged"),
    "huge png": (png(5_000, 10), "1024 pixels"),
    "flat png": (png(0, 10), "1024 pixels"),
}


@pytest.mark.parametrize("name", LOGOS)
def test_a_logo_is_recognised_by_its_content(tmp_path: Path, name: str) -> None:
    """SVG and PNG are recognised by their content, not by their name."""
    (tmp_path / "logo").write_bytes(LOGOS[name])
    logo = read_logo(tmp_path / "logo")
    assert logo.body == LOGOS[name]
    assert logo.suffix == (".png" if name == "png" else ".svg")


@pytest.mark.parametrize("name", NO_LOGOS)
def test_an_unsafe_logo_is_refused(tmp_path: Path, name: str) -> None:
    """Files that could act, load something or are too large are refused in one line."""
    body, says = NO_LOGOS[name]
    (tmp_path / "logo.svg").write_bytes(body)
    with pytest.raises(ValueError, match=re.escape(says)) as refused:
        read_logo(tmp_path / "logo.svg")
    assert "\n" not in str(refused.value)


def test_settings_make_the_brand(tmp_path: Path) -> None:
    """Each setting of the product appears on the pages."""
    (tmp_path / "logo.png").write_bytes(png(10, 10))
    settings = Settings(
        product_name=" Acme ",
        logo=tmp_path / "logo.png",
        accent="#0B6E4F",
        docs_url="https://acme.example/docs",
        product_url="https://acme.example",
    )
    brand = read_brand(settings)
    assert brand == Brand(
        Product("Acme"),
        Logo(png(10, 10), ".png"),
        "#0b6e4f",
        None,
        "https://acme.example/docs",
        "https://acme.example",
    )


GUIDE = (Path(__file__).parents[3] / "docs/guides/white-label.md").read_text()


def test_the_settings_of_the_guide_are_valid() -> None:
    """The settings in the guide load, and the API accepts the body that it sends."""
    (example,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    settings = Settings(**tomllib.loads(example))
    assert settings.product_name == "Acme Cloud"
    (body,) = re.findall(r"-d '(.*?)'\n", GUIDE, re.DOTALL)
    request = NewPortalSession.model_validate_json(body).request()
    assert request.user.id == "user-4711"
    for name in ("logo", "accent", "accent_dark", "docs_url", "product_url", "plans_url"):
        assert name in Settings.model_fields
        assert f"`{name}`" in GUIDE
