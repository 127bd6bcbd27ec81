"""Pictures of every state of every page into `screenshots/`, wide, dark and narrow: `make screenshots`."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.support.chromium import chromium
from tests.support.page_states import STILL, Tour, sample_of
from tests.support.server_process import serving

FOLDER: Final = Path(__file__).parents[2] / "screenshots"
WIDE: Final = {"width": 1280, "height": 860}
NARROW: Final = {"width": 390, "height": 844}
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "wide": {"viewport": WIDE},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "narrow": {"viewport": NARROW},
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
