// What scripts add to pages that work without them: the dialog, failures, and forms that are sent once.
(() => {
  "use strict";

  const dialog = () => document.getElementById("dialog");
  const inDialog = (element) => element.closest("#dialog") !== null;

  // --- the dialog: a page's panel, opened over the page it was asked from ---

  const openDialog = () => {
    const box = dialog();
    const panel = box.querySelector("#panel");
    if (panel === null) return;
    const shownToken = panel.hasAttribute("data-token");
    box.setAttribute("role", panel.hasAttribute("data-alert") ? "alertdialog" : "dialog");
    box.setAttribute("closedby", shownToken ? "none" : "closerequest");
    if (panel.hasAttribute("aria-describedby")) box.setAttribute("aria-describedby", "panel-text");
    else box.removeAttribute("aria-describedby");
    if (!box.open) {
      places = placesOf([document.activeElement.closest(".keys tr")?.id]);
      box.showModal();
    }
    focusPanel(panel);
  };

  // A refused form has the focus on its first wrong field.
  const WRONG = '[aria-invalid="true"]:is(input, select, textarea), [aria-invalid="true"] input:not([type=hidden])';

  const focusPanel = (panel) => (panel.querySelector(WRONG) ?? panel.querySelector("[autofocus]") ?? panel).focus();

  const closeDialog = () => {
    const box = dialog();
    if (box.open) box.close();
    box.replaceChildren();
  };

  document.addEventListener("close", (event) => {
    if (event.target === dialog()) dialog().replaceChildren();
  }, true);

  const showScriptedButtons = () => {
    for (const shown of document.querySelectorAll("[data-copy], [data-dismiss]")) shown.hidden = false;
  };

  // --- clicks, each on what it is for ---

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-close], [data-dismiss]");
    if (target === null) return;
    if (target.hasAttribute("data-dismiss")) dismiss();
    else if (inDialog(target)) {
      event.preventDefault();
      closeDialog();
    }
  });

  const dismiss = () => {
    document.getElementById("status").replaceChildren();
    document.getElementById("content").focus({ preventScroll: true });
  };

  // What looks like a button is pressed like one.
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || !event.target.matches("a.button, a[role=button]")) return;
    event.preventDefault();
    event.target.click();
  });

  // --- forms that are sent once, however often the button is pressed ---

  const SENT = "data-sent";

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.hasAttribute("data-once")) return;
    if (form.hasAttribute(SENT)) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
    form.setAttribute(SENT, "");
    if (!form.hasAttribute("hx-post")) waitFor(event.submitter);
  }, true);

  const letSendAgain = () => {
    for (const form of document.querySelectorAll(`[${SENT}]`)) form.removeAttribute(SENT);
  };

  window.addEventListener("pageshow", letSendAgain);

  // --- the pressed control shows that its request takes a while ---

  const BUSY_AFTER = 150;

  const waitFor = (control) => setTimeout(() => {
    if (control === null || control.hasAttribute("aria-busy")) return;
    control.setAttribute("aria-busy", "true");
    if (control.dataset.busy === undefined) return;
    control.dataset.idle = control.textContent;
    control.textContent = control.dataset.busy;
  }, BUSY_AFTER);

  const release = (control) => {
    control.removeAttribute("aria-busy");
    if (control.dataset.idle === undefined) return;
    control.textContent = control.dataset.idle;
    delete control.dataset.idle;
  };

  // The link of a closed menu is not in view: the focus has gone back to what opened the menu.
  const controlOf = (ctx) => {
    if (ctx.request.submitter) return ctx.request.submitter;
    const source = ctx.sourceElement;
    if (source.matches("[role=search]")) return document.getElementById("key-list");
    return source.offsetParent === null ? document.activeElement : source;
  };

  document.addEventListener("htmx:before:request", (event) => {
    const ctx = event.detail.ctx;
    ctx.control = controlOf(ctx);
    ctx.waiting = waitFor(ctx.control);
  });

  document.addEventListener("htmx:finally:request", (event) => {
    clearTimeout(event.detail.ctx.waiting);
    release(event.detail.ctx.control);
  });

  window.addEventListener("pageshow", () => document.querySelectorAll("[aria-busy]").forEach(release));

  // --- when a request fails: an alert that says what is known, with everything that was entered still there ---

  const NO_ANSWER = "We couldn't reach the server";
  const NOT_OURS = (status) => `The server didn't answer as expected (${status})`;

  const isSent = (ctx) => ctx.request.method !== "GET";

  const saidByGateway = (ctx, what) => isSent(ctx)
    ? `${what}. We don't know if ${ctx.sourceElement.dataset.outcome ?? "your change was saved"}. Try again.`
    : `${what}. Try again.`;

  // Our own refusals say in words what was done; a gateway's page, or one of another site, says nothing that we show.
  const failureIn = (ctx, answer) => {
    const refusal = answer.querySelector("[data-refusal]");
    if (refusal !== null) {
      return `${answer.querySelector("[data-refusal-title]").textContent}. ${refusal.textContent}`;
    }
    const isWhole = ctx.response.status < 500 && answer.querySelector(ctx.select ?? "body") !== null;
    return isWhole ? null : saidByGateway(ctx, NOT_OURS(ctx.response.status));
  };

  const alertOf = (ctx, text) => {
    const failure = document.getElementById("failure").content.cloneNode(true);
    failure.querySelector("[data-failure-text]").textContent = text;
    failure.querySelector("[data-retry]").addEventListener("click", () => retry(ctx));
    return failure;
  };

  const retry = ({ sourceElement: source, request }) => source.matches("form")
    ? source.requestSubmit(request.submitter)
    : source.click();

  const showFailure = (ctx, text) => {
    letSendAgain();
    const source = ctx.sourceElement;
    const failure = alertOf(ctx, text);
    const panel = source.isConnected ? source.closest("#panel") : null;
    if (!source.isConnected) failure.querySelector("[data-retry]").remove();
    if (panel !== null) {
      panel.prepend(failure.querySelector("[data-failure]"));
      panel.querySelector("[data-retry]").focus();
    } else if (ctx.target === dialog()) {
      failure.querySelector(".panel").id = "panel";
      failure.querySelector("[data-failure-title]").id = "panel-title";
      failure.querySelector("[data-retry]").setAttribute("autofocus", "");
      dialog().replaceChildren(failure);
      openDialog();
    } else {
      const status = document.getElementById("status");
      status.replaceChildren(failure.querySelector("[data-failure]"));
      if (isSent(ctx)) status.querySelector("[data-retry]")?.focus();
    }
  };

  const forgetFailures = () => {
    for (const failure of document.querySelectorAll("[data-failure]")) failure.remove();
  };

  document.addEventListener("htmx:before:request", forgetFailures);

  document.addEventListener("htmx:after:request", (event) => {
    const ctx = event.detail.ctx;
    if (ctx.hx.redirect !== undefined) return;
    const answer = new DOMParser().parseFromString(ctx.text, "text/html");
    const text = failureIn(ctx, answer);
    if (text === null) return take(ctx, answer);
    event.preventDefault();
    showFailure(ctx, text);
  });

  // --- where the answer to a form goes: a panel (a refused form, a new secret) replaces the one that was sent, and a
  // page outside the frame, such as the sign-in, the whole page ---

  const isFramed = (page) => page.getElementById("side") !== null;

  const take = (ctx, answer) => {
    if (!isSent(ctx)) return;
    const panel = ctx.sourceElement.closest("#panel"), isSame = isFramed(answer) === isFramed(document);
    if (panel !== null && answer.getElementById("panel") !== null && (isSame || inDialog(panel))) {
      Object.assign(ctx, { target: panel, select: "#panel", replace: null });
    } else if (!isSame) Object.assign(ctx, { target: document.body, select: "body" });
  };

  document.addEventListener("htmx:error", (event) => {
    const ctx = event.detail.ctx;
    if (ctx !== undefined && ctx.text === undefined) showFailure(ctx, saidByGateway(ctx, NO_ANSWER));
  });

  // --- where the focus goes when the page has changed under it: to the changed row, or past those that are gone ---

  let places = [];
  let isNewContent = false;

  // Rows to return to, the best first: those with the ids, then those after them, then the last before them.
  const placesOf = (ids) => {
    const rows = [...document.querySelectorAll(".keys tbody tr")].map((row) => row.id);
    const first = rows.findIndex((id) => ids.includes(id));
    return first === -1 ? [] : [...ids, ...rows.slice(first + 1), ...rows.slice(0, first).reverse()];
  };

  document.addEventListener("submit", (event) => {
    const keys = event.target.elements.namedItem("keys");
    if (keys !== null) places = placesOf(keys.value.split(" "));
  }, true);

  const focusNewContent = () => {
    const lost = isNewContent && document.activeElement === document.body;
    isNewContent = false;
    if (!lost) return;
    const panel = document.querySelector("#content #panel, #content:has([aria-invalid=true])");
    if (panel !== null) return focusPanel(panel);
    const row = document.querySelector(".row-changed")
      ?? places.map((id) => document.getElementById(id)).find((place) => place !== null);
    (row?.querySelector(".name a") ?? document.querySelector("#content h1[tabindex]"))?.focus();
  };

  // --- after htmx has put something new into the page ---

  document.addEventListener("htmx:after:swap", () => {
    showScriptedButtons();
    if (dialog().querySelector("#panel") !== null) openDialog();
    focusNewContent();
  });

  document.addEventListener("htmx:before:swap", (event) => {
    const target = event.detail.ctx.target;
    isNewContent = ["content", "panel"].includes(target?.id) && !inDialog(target);
    if (target?.id === "content") closeDialog();
  });

  document.addEventListener("DOMContentLoaded", showScriptedButtons);
})();
