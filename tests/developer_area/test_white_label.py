"""Pages of a product with a name of its own: nowhere do they say ours."""

from __future__ import annotations

from pathlib import Path

from keystead.domain.product import Product
from tests.developer_area.conftest import Area, opened
from tests.support.surface import Survey
from tests.support.white_label import NAME, leaking_fields, leaks


def test_no_page_says_our_name(survey: Survey) -> None:
    """Every page, export and file that any visitor reaches, with its header fields."""
    assert len(survey.pages) > 100
    for seen in survey.pages:
        assert not leaks(seen.html), seen.path
        assert not leaking_fields(seen.headers.multi_items()), seen.path
        assert seen.headers["server"] == "acme-cloud"
    assert {"text/csv", "text/html"} <= {
        seen.headers.get("content-type", "").partition(";")[0] for seen in survey.pages
    }


def test_neither_files_nor_refusals_say_it(survey: Survey, tmp_path: Path) -> None:
    """Style sheets, scripts and their addresses; pages of errors."""
    with opened(f"sqlite:///{tmp_path / 'k.db'}", product_name=NAME, powered_by=False) as area:
        browser = area.browser()
        for url in [*survey.files, "/nothing", "/w/ws_0/keys", "/sign-out", "/static/x/y.js"]:
            seen = browser.open(url)
            text = seen.html if seen.headers["content-type"].startswith("text/") else ""
            assert not leaks(url + text), url
            assert not leaking_fields(seen.headers.multi_items()), url
        assert f"· {NAME}</title>" in browser.open("/nothing").html


def test_the_credit_can_be_switched_off(area: Area, tmp_path: Path) -> None:
    """A line at the foot names the software and its licence, before and after signing in; a setting removes it."""
    credit = Product(NAME).credit
    assert credit == "Powered by Keystead, Apache-2.0"
    for is_credited in (True, False):
        url = f"sqlite:///{tmp_path / f'{is_credited}.db'}"
        with opened(url, product_name=NAME, powered_by=is_credited) as named:
            for seen in (named.browser().open("/sign-in"), named.signed_in().open(named.keys_url)):
                assert seen.html.count(credit) == is_credited
                assert bool(leaks(seen.html)) == is_credited
    assert credit not in area.signed_in().open(area.keys_url).html
