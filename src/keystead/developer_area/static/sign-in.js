// What scripts add to signing in: it continues where it interrupted, and the server learns the browser's time zone.
(() => {
  "use strict";

  // --- a question in the middle of an act: the answer goes where the act would have gone ---

  const IN_PANEL = { "hx-target": "closest #panel", "hx-select": "#panel", "hx-swap": "outerHTML" };

  const rulesOf = (source) => source.hasAttribute("hx-post")
    ? [...source.attributes].filter(({ name }) => name.startsWith("hx-") || name === "data-outcome").map(({ name, value }) => [name, value])
    : Object.entries(IN_PANEL);

  const continueFrom = (source) => {
    for (const form of document.querySelectorAll("[data-question]:not([hx-post])")) {
      for (const [name, value] of rulesOf(source)) form.setAttribute(name, value);
      form.setAttribute("hx-post", form.getAttribute("action"));
      htmx.process(form);
    }
  };

  // Once the element that asked has been replaced, htmx names another one as the source.
  document.addEventListener("htmx:before:request", (event) => {
    event.detail.ctx.asker = event.detail.ctx.sourceElement;
  });

  document.addEventListener("htmx:after:swap", (event) => continueFrom(event.detail.ctx.asker));

  // --- a new session has new form tokens: the page behind the dialog gets them, unless somebody else has signed in ---

  const TOKEN = ".area [name=form_token]";
  const ownerOf = (token) => token.split(".")[1];

  const leave = (event) => {
    event.preventDefault();
    location.assign("/");
  };

  document.addEventListener("htmx:after:request", (event) => {
    const ctx = event.detail.ctx;
    const answer = new DOMParser().parseFromString(ctx.text, "text/html");
    const fresh = answer.querySelector(TOKEN)?.value, shown = document.querySelector(TOKEN)?.value;
    // What a gateway says while the server is away is not an answer to the sign-in.
    const isRefused = fresh === undefined && answer.querySelector("[data-question]") === null && ctx.response.status < 500;
    if (isRefused && ctx.asker.matches("[action='/sign-in']")) leave(event);
    if (fresh === undefined || shown === undefined || fresh === shown) return;
    if (ownerOf(fresh) !== ownerOf(shown)) return leave(event);
    for (const field of document.querySelectorAll("[name=form_token]")) field.value = fresh;
  });

  // --- the forms that sign in ---

  const fillInZone = () => {
    for (const field of document.querySelectorAll("[name=browser_zone]")) {
      field.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
    }
  };

  document.addEventListener("htmx:after:swap", fillInZone);

  document.addEventListener("DOMContentLoaded", () => {
    fillInZone();
    document.querySelector("[data-confirmed]")?.requestSubmit();
  });
})();
