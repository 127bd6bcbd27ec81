// What scripts keep current: whether a new key was used, the last use of the keys in the list, the end of a chosen day.
(() => {
  "use strict";

  // A server notes uses every two seconds, so that the first request shows within four.
  const FIRST_USE_EVERY = 2_000;
  const FIRST_USE_TIMES = 60;
  const LIST_EVERY = 30_000;

  // The header says that no user asked: the session ends as if this tab were closed.
  const loadText = async (url) => {
    try {
      const response = await fetch(url, { headers: { "Keystead-Background": "refresh" } });
      return response.redirected || !response.ok ? null : await response.text();
    } catch {
      return null;
    }
  };

  const load = async (url) => {
    const text = await loadText(url);
    return text === null ? null : new DOMParser().parseFromString(text, "text/html");
  };

  const every = (interval, call) => {
    let isRunning = false;
    setInterval(async () => {
      if (isRunning || document.hidden) return;
      isRunning = true;
      await call();
      isRunning = false;
    }, interval);
  };

  // --- a key without a request yet: on the step that shows its token, and on its page ---

  const endWait = (line, text) => {
    line.textContent = text;
    line.removeAttribute("data-waiting");
  };

  const lookForUse = async () => {
    const line = document.querySelector("[data-waiting]");
    if (line === null) return;
    line.dataset.times = Number(line.dataset.times ?? 0) + 1;
    const answer = await load(line.dataset.waiting);
    const used = answer?.querySelector("[data-first-request]");
    if (used) {
      endWait(line, used.dataset.firstRequest);
      line.classList.add("first-request-seen");
      document.getElementById("last-used")?.replaceWith(answer.getElementById("last-used"));
    } else if (Number(line.dataset.times) >= FIRST_USE_TIMES) endWait(line, "No requests yet.");
  };

  // --- the list, as long as nobody is in the middle of something ---

  const isIdle = () => document.activeElement.matches("body, #content, h1")
    && document.querySelector("dialog[open], :popover-open, .keys :checked") === null
    && getSelection().isCollapsed;

  const refreshUses = async () => {
    if (document.querySelector(".keys") === null || !isIdle()) return;
    const url = location.href;
    const answer = await load(url);
    if (answer === null || location.href !== url || !isIdle()) return;
    for (const row of document.querySelectorAll(".keys tbody tr")) {
      const used = answer.getElementById(row.id)?.querySelector(".c-used");
      if (used) row.querySelector(".c-used").replaceWith(used);
    }
  };

  every(FIRST_USE_EVERY, lookForUse);
  every(LIST_EVERY, refreshUses);

  const showWaits = () => {
    for (const line of document.querySelectorAll("[data-waiting]")) line.hidden = false;
  };

  // --- the end of a chosen day, in the zone of the user and by the rules of the server ---

  const showEnd = async (field) => {
    const day = field.value;
    const text = day === "" ? "" : await loadText(`${field.dataset.preview}?on=${day}`);
    if (field.value === day) field.nextElementSibling.textContent = text ?? "";
  };

  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-preview]")) showEnd(event.target);
  });

  const prepare = () => {
    showWaits();
    for (const field of document.querySelectorAll("[data-preview]")) showEnd(field);
  };

  document.addEventListener("htmx:after:swap", prepare);
  document.addEventListener("DOMContentLoaded", prepare);
})();
