// Shortcuts of one key: shown on what they press, and switched off on the account's page (WCAG 2.2, 2.1.4).
(() => {
  "use strict";

  const NAME = "shortcuts";
  const TYPING = "select, textarea, input:not([type=checkbox], [type=radio])";

  // Storage throws where the browser forbids it: then shortcuts are on.
  const isOn = () => {
    try {
      return localStorage.getItem(NAME) !== "off";
    } catch {
      return true;
    }
  };

  const controls = () => [...document.querySelectorAll("[data-shortcut]")];

  const show = () => {
    for (const hint of document.querySelectorAll("kbd[data-hint]")) hint.hidden = !isOn();
    for (const control of controls()) {
      if (isOn()) control.setAttribute("aria-keyshortcuts", control.dataset.shortcut);
      else control.removeAttribute("aria-keyshortcuts");
    }
    const choice = document.getElementById("shortcuts");
    if (choice === null) return;
    choice.checked = isOn();
    choice.closest("section").hidden = false;
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !isOn()) return;
    if (event.target.closest(TYPING) !== null || document.getElementById("dialog").open) return;
    const control = controls().find(({ dataset }) => dataset.shortcut === event.key);
    if (control === undefined) return;
    event.preventDefault();
    if (control.matches("input")) control.focus();
    else control.click();
  });

  document.addEventListener("change", (event) => {
    if (event.target.id !== "shortcuts") return;
    try {
      localStorage.setItem(NAME, event.target.checked ? "on" : "off");
    } finally {
      show();
    }
  });

  document.addEventListener("htmx:after:swap", show);
  document.addEventListener("DOMContentLoaded", show);
})();
