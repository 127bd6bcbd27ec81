// What scripts add to texts to copy, and to a secret that is shown once: the question before it is lost.
(() => {
  "use strict";

  const step = () => document.querySelector("[data-token]");
  const isAtRisk = () => step() !== null && !step().hasAttribute("data-copied");
  const isPlain = (event) => !(event.ctrlKey || event.metaKey || event.shiftKey);

  // --- copying: also on http://, and never silently ---

  const select = (field) => {
    if (field.select === undefined) return getSelection().selectAllChildren(field);
    field.focus();
    field.select();
  };

  const textOf = (field) => field.value ?? field.textContent;

  // Browsers offer the clipboard on https:// only; the older command works everywhere, on what is selected.
  const copy = async (field, button) => {
    try {
      await navigator.clipboard.writeText(textOf(field));
      return true;
    } catch {
      select(field);
      const copied = document.execCommand("copy");
      if (copied) button.focus();
      return copied;
    }
  };

  const copyFrom = async (button) => {
    const field = document.getElementById(button.dataset.copy);
    if (await copy(field, button)) showCopied(textOf(field), button);
    else {
      const what = field.id === "token" ? "key" : "text";
      say(button, `Couldn't copy automatically. The ${what} is selected: press Ctrl+C (⌘C on a Mac).`, true);
    }
  };

  const say = (button, text, isProblem) => {
    const status = button.closest("[data-copies], #panel").querySelector("[data-copy-status]");
    status.textContent = text;
    status.classList.toggle("unseen", !isProblem);
  };

  // Only the text that was copied last is in the clipboard.
  const label = (button, text) => {
    button.dataset.label ??= button.firstChild.data;
    button.firstChild.data = text ?? button.dataset.label;
    button.classList.toggle("button-copied", text !== undefined);
  };

  const showCopied = (text, button) => {
    for (const other of document.querySelectorAll("[data-copy][data-label]")) label(other);
    label(button, "Copied ✓");
    say(button, "Copied to the clipboard.", false);
    const panel = step();
    if (panel === null || !text.includes(panel.querySelector("[data-secret]").value)) return;
    panel.setAttribute("data-copied", "");
    panel.querySelector("[data-leave]").hidden = true;
    panel.querySelector("[data-copy]").classList.remove("button-primary");
    panel.querySelector("[data-done] a").classList.add("button-primary");
  };

  // The browser's own copy, by the keyboard or by the menu, counts if it takes the whole secret.
  document.addEventListener("copy", (event) => {
    const panel = step(), field = event.target;
    if (panel === null || !panel.contains(field)) return;
    const text = field.value?.slice(field.selectionStart, field.selectionEnd) ?? String(getSelection());
    if (!text.includes(panel.querySelector("[data-secret]").value)) return;
    showCopied(text, panel.querySelector(`[data-copy="${field.id}"]`) ?? panel.querySelector("[data-copy]"));
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button !== null) copyFrom(button);
  });

  // --- leaving: each way asks until the secret was copied ---

  const ask = () => {
    step().querySelector("[data-leave]").hidden = false;
    step().querySelector("[data-leave-no]").focus();
  };

  const stay = () => {
    step().querySelector("[data-leave]").hidden = true;
    [...step().querySelectorAll("[data-copy]")].find((button) => button.offsetParent !== null).focus();
  };

  // Before htmx sees the click.
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-leave-no]") !== null) stay();
    if (event.target.closest("[data-done] a") === null || !isAtRisk() || !isPlain(event)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    ask();
  }, true);

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || step()?.closest("dialog") == null) return;
    event.preventDefault();
    step().querySelector("[data-done] a").click();
  });

  // The browser's own question, when the tab is closed or reloaded, or goes elsewhere.
  const prepare = () => {
    window.onbeforeunload = step() === null ? null : () => isAtRisk() || null;
  };

  document.addEventListener("htmx:after:swap", prepare);
  document.addEventListener("DOMContentLoaded", prepare);

  // A page that is left keeps no secret, neither in the back/forward cache nor in the form's state.
  window.addEventListener("pagehide", () => {
    for (const field of document.querySelectorAll("[data-secret]")) field.value = field.defaultValue = "";
  });
})();
