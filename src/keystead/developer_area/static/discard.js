// What scripts add to dialogs: a button that closes them, and the question before entered text is lost.
(() => {
  "use strict";

  const dialog = () => document.getElementById("dialog");
  const panel = () => dialog().querySelector("#panel");
  const question = () => dialog().querySelector("[data-asked]");

  const isChanged = (control) => {
    if (control.matches("[type=checkbox], [type=radio]")) return control.checked !== control.defaultChecked;
    if (control.matches("input, textarea")) return control.value !== control.defaultValue;
    if (!control.matches("select")) return false;
    const stored = [...control.options].findIndex((option) => option.defaultSelected);
    return control.selectedIndex !== Math.max(stored, 0);
  };

  // A refused form comes back with what was entered. A question, or a search, holds nothing to lose.
  const form = () => panel()?.querySelector("form[method=post]") ?? null;
  const isAtRisk = () => form() !== null && !panel().hasAttribute("data-alert")
    && (form().querySelector(".problem") !== null || [...form().elements].some(isChanged));

  const ask = () => {
    const asked = document.getElementById("discard").content.cloneNode(true);
    const text = form().dataset.discard;
    if (text !== undefined) asked.querySelector("strong").textContent = text;
    panel().append(asked);
    question().querySelector("[data-keep]").focus();
  };

  const keep = () => {
    question().remove();
    ([...form().elements].find(isChanged) ?? panel().querySelector("[autofocus]"))?.focus();
  };

  const askOrKeep = () => question() === null ? ask() : keep();

  // Before the click closes the dialog.
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keep]") !== null) keep();
    if (event.target.closest("#dialog [data-close]") === null || !isAtRisk()) return;
    if (event.target.closest("[data-asked]") !== null) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (question() === null) ask();
  }, true);

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !dialog().open || !isAtRisk()) return;
    event.preventDefault();
    askOrKeep();
  });

  // Other ways to close, such as a phone's own gesture.
  document.addEventListener("cancel", (event) => {
    if (event.target !== dialog() || !isAtRisk()) return;
    event.preventDefault();
    if (question() === null) ask();
  }, true);

  const prepare = () => {
    dialog().querySelector("[data-cross]")?.remove();
    if (panel()?.querySelector("[data-close]") == null) return;
    dialog().prepend(document.getElementById("cross").content.cloneNode(true));
  };

  document.addEventListener("htmx:after:swap", prepare);
})();
