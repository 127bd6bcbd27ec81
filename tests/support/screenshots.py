"""Pictures of every state of every page into `screenshots/`, at five widths, light and dark: `make screenshots`."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.support.chromium import chromium
from tests.support.page_states import STILL, Tour, sample_of
from tests.support.server_process import serving

FOLDER: Final = Path(__file__).parents[2] / "screenshots"
WIDTHS: Final = (1440, 1280, 1024, 768, 390)
LOOKS: Final[dict[str, dict[str, Any]]] = {
    f"{width}-{scheme}": {"viewport": {"width": width, "height": 860}, "color_scheme": scheme}
    for width in WIDTHS
    for scheme in ("light", "dark")
}
WINDOWED: Final = ("dialog-", "create", "revoked")
"""States whose picture shows the window, since a dialog covers it; the others show the whole page."""


def take(folder: Path, looks: list[str]) -> int:
    """Take the pictures of those looks. Returns how many there are."""
    folder.mkdir(exist_ok=True)
    with (
        TemporaryDirectory() as data,
        serving(f"sqlite:///{data}/keystead.db", environment=STILL) as server,
        sample_of(server) as sample,
        chromium() as browser,
    ):
        for look in looks:
            page = browser.new_page(base_url=server.base_url, **LOOKS[look])

            def arrived(name: str, page: Any = page, look: str = look) -> None:
                whole = not name.startswith(WINDOWED)
                page.screenshot(path=folder / f"{name}-{look}.png", full_page=whole)

            Tour(page, sample, arrived).everything()
            page.close()
    return len(list(folder.glob("*.png")))


if __name__ == "__main__":
    sys.stdout.write(f"{take(FOLDER, sys.argv[1:] or list(LOOKS))} pictures in {FOLDER}\n")
