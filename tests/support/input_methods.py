"""Ways of using a page: with a mouse, with the keyboard alone, and with a mouse but without scripts."""

from __future__ import annotations

from typing import Final

from playwright.sync_api import Locator, Page, expect

MOST_TABS: Final = 200


class Mouse:
    """A user who clicks on things, and types into the clicked field."""

    scripts = True

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, thing: Locator) -> None:
        """Press a link or a button."""
        thing.click()

    def write(self, field: Locator, text: str) -> None:
        """Replace the text of the field."""
        field.click()
        self._replace(text)

    def choose(self, choice: Locator) -> None:
        """Choose a radio button or a check box."""
        choice.click()

    def pick(self, menu: Locator, value: str) -> None:
        """Pick one entry of a menu."""
        menu.select_option(value)

    def _replace(self, text: str) -> None:
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)


class NoScripts(Mouse):
    """The same in a browser that runs no scripts."""

    scripts = False


class Keyboard(Mouse):
    """A user who moves by Tab and arrows, without a mouse; a thing that Tab does not reach is missing."""

    def press(self, thing: Locator) -> None:
        """Tab to it, then Enter."""
        self._reach(thing)
        self.page.keyboard.press("Enter")

    def write(self, field: Locator, text: str) -> None:
        """Tab to it, and type."""
        self._reach(field)
        self._replace(text)

    def choose(self, choice: Locator) -> None:
        """Tab to its group and use the arrows; press Space if they alone do not choose it."""
        name = choice.get_attribute("name")
        if choice.get_attribute("type") == "radio":
            self._reach(self.page.locator(f"input[type=radio][name={name}]"), any_of=True)
        else:
            self._reach(choice)
        for _ in range(MOST_TABS):
            if is_focused(choice):
                break
            self.page.keyboard.press("ArrowDown")
        if not choice.is_checked():
            self.page.keyboard.press("Space")
        expect(choice).to_be_checked()

    def pick(self, menu: Locator, value: str) -> None:
        """Tab to it, and type what the entry says."""
        self._reach(menu)
        self.page.keyboard.type(
            str(menu.locator(f'option[value="{value}"]').text_content()).strip()
        )
        expect(menu).to_have_value(value)

    def _reach(self, thing: Locator, *, any_of: bool = False) -> None:
        if not any_of:
            expect(thing).to_be_visible()
        for _ in range(MOST_TABS):
            if any(is_focused(element) for element in thing.all()):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not reach {thing}")


def is_focused(thing: Locator) -> bool:
    """Return whether keys go to it."""
    return bool(thing.evaluate("element => element === document.activeElement"))
