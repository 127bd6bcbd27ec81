// What scripts add to the reference: a search, tabs, and forms that send a call to this server. The key is kept in a
// variable of this page alone. It enters no storage, address, history, cookie or log, and no other server gets it.
(() => {
  "use strict";

  const LONGEST = 100_000;

  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  // --- the search narrows the list of calls ---

  const entryOf = (operation) => {
    const id = operation.querySelector("h3").id;
    const line = document.querySelector(`nav a[href="#${CSS.escape(id)}"]`).parentElement;
    const texts = all(":scope > h3, :scope > p, tbody th", operation).map((each) => each.textContent);
    return { line, title: texts[0].toLowerCase(), text: `${id} ${texts.join(" ")}`.toLowerCase() };
  };

  const addSearch = (operations) => {
    const entries = operations.map(entryOf);
    const field = byId("words");
    const words = () => field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (text) => words().every((word) => text.includes(word));
    const narrow = () => {
      for (const entry of entries) entry.line.hidden = !has(entry.text);
      for (const list of all("nav ul")) {
        const isEmpty = all("li:not([hidden])", list).length === 0;
        list.hidden = list.previousElementSibling.hidden = isEmpty;
      }
      const hits = entries.filter((entry) => !entry.line.hidden).length;
      byId("hits").textContent = words().length ? `${hits} of ${entries.length} calls` : "";
    };
    field.addEventListener("input", narrow);
    field.addEventListener("keydown", (event) => {
      // The first call with all words in its name, else the first of those that are left.
      if (event.key === "Enter") {
        const entry = entries.find(({ title }) => has(title)) ?? entries.find(({ line }) => !line.hidden);
        entry?.line.firstElementChild.click();
      }
      if (event.key !== "Escape") return;
      field.value = "";
      narrow();
    });
    byId("search").hidden = false;
  };

  // --- tabs: what is chosen at one call is shown at all of them ---

  const choose = (name, clicked) => {
    const before = clicked?.getBoundingClientRect().top;
    for (const panel of all(".sample")) panel.hidden = panel.dataset.tab !== name;
    for (const tab of all("[role=tab]")) {
      const isChosen = tab.textContent === name;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    }
    // The samples above changed their heights: what was clicked stays where it was.
    if (clicked) scrollBy(0, clicked.getBoundingClientRect().top - before);
  };

  const addTabs = (samples) => {
    const list = make("div", { role: "tablist", "aria-label": "Code" });
    for (const panel of all(".sample", samples)) {
      const attributes = { type: "button", role: "tab", id: `${panel.id}-tab`, "aria-controls": panel.id };
      const tab = make("button", attributes, panel.dataset.tab);
      tab.addEventListener("click", () => choose(tab.textContent, tab));
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      panel.querySelector("h4").hidden = true;
      list.append(tab);
    }
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step === undefined) return;
      const tabs = [...list.children];
      const next = tabs.at((tabs.indexOf(document.activeElement) + step) % tabs.length);
      next.focus();
      choose(next.textContent, next);
      event.preventDefault();
    });
    samples.prepend(list);
  };

  // --- the key ---

  let key = null;

  const setKey = (text) => {
    key = text;
    byId("key-text").value = "";
    byId("key-forget").hidden = key === null;
    byId("key-state").textContent = key === null ? "" : `The key that ends with ${key.slice(-4)} is in use.`;
  };

  const addKey = () => {
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = byId("key-text").value.trim();
      if (/^\w{20,200}$/.test(text)) return setKey(text);
      byId("key-state").textContent = "This is not a whole key. Paste it as you received it.";
    });
    byId("key-forget").addEventListener("click", () => {
      setKey(null);
      byId("key-text").focus();
    });
    // A browser may keep a page that was left, and bring it back as it was.
    addEventListener("pagehide", () => {
      setKey(null);
      for (const answer of all(".answer")) answer.hidden = true;
      for (const body of all(".answer pre")) body.textContent = "";
    });
    byId("key").hidden = false;
  };

  // --- the form of a call ---

  const labelled = (text, field) => make("p", { class: "field" }, make("label", { for: field.id }, text), field);

  const fieldOf = (row, id) => {
    const { name, in: place, sample } = row.dataset;
    const attributes = { id: `${id}-${name}`, autocomplete: "off", spellcheck: "false" };
    const field = make("input", { ...attributes, "data-name": name, "data-in": place });
    if (place === "path") field.value = sample ?? "";
    return labelled(`${name} (${place})`, field);
  };

  const valuesOf = (form, place) => all(`input[data-in="${place}"]`, form)
    .map((field) => [field.dataset.name, field.value.trim()]);

  // Throws with a sentence for the user.
  const urlOf = (operation, form) => {
    let path = operation.dataset.path;
    for (const [name, value] of valuesOf(form, "path")) {
      if (value === "" || value === "." || value === "..") throw new Error(`Enter the ${name}.`);
      path = path.replace(`{${name}}`, () => encodeURIComponent(value));
    }
    const url = new URL(path, location.origin);
    if (url.origin !== location.origin || url.pathname !== path) throw new Error("This is no path of this server.");
    for (const [name, value] of valuesOf(form, "query")) if (value) url.searchParams.set(name, value);
    return url;
  };

  const request = (operation, form) => {
    const headers = new Headers({ Authorization: `Bearer ${key}` });
    for (const [name, value] of valuesOf(form, "header")) if (value) headers.set(name, value);
    const body = form.querySelector("textarea")?.value.trim() || undefined;
    if (body) headers.set("Content-Type", "application/json");
    return fetch(urlOf(operation, form), {
      method: operation.dataset.method,
      headers,
      body,
      mode: "same-origin",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
      cache: "no-store",
    });
  };

  const readable = (text) => {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  };

  const send = async (operation, form) => {
    const state = form.querySelector("[role=status]");
    const shown = form.querySelector(".answer");
    shown.hidden = true;
    if (key === null) {
      state.textContent = "Enter a key first, at the top of the page.";
      return;
    }
    state.textContent = "Sending…";
    try {
      const response = await request(operation, form);
      const text = readable(await response.text());
      state.textContent = `${response.status} ${response.statusText}`;
      shown.firstElementChild.textContent = text.slice(0, LONGEST);
      shown.hidden = text === "" || key === null;
    } catch (error) {
      // A TypeError is the browser's: its text is not for users, and differs between browsers.
      state.textContent = error instanceof TypeError ? "No response. Is the server still there?" : error.message;
    }
  };

  const formOf = (operation) => {
    const id = `try-${operation.querySelector("h3").id}`;
    const { method, body } = operation.dataset;
    const form = make("form", { autocomplete: "off" });
    form.append(...all("tr[data-name]", operation).map((row) => fieldOf(row, id)));
    if (body !== undefined) {
      const attributes = { id: `${id}-body`, rows: String(Math.min(body.split("\n").length, 16)), spellcheck: "false" };
      form.append(labelled("Body (JSON)", make("textarea", attributes, body)));
    }
    if (method !== "GET") form.append(make("p", {}, "This changes the key's workspace."));
    form.append(
      make("button", { type: "submit" }, `Send ${method}`),
      make("p", { role: "status" }),
      make("div", { class: "answer", hidden: "" }, make("pre", { tabindex: "0", "aria-label": "Response" })),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(operation, form);
    });
    return form;
  };

  const addForm = (operation) => {
    const details = make("details", { class: "try" }, make("summary", {}, "Try it"));
    details.addEventListener("toggle", () => details.append(formOf(operation)), { once: true });
    operation.querySelector(".samples").after(details);
  };

  const operations = all(".operation");
  addSearch(operations);
  all(".samples").forEach(addTabs);
  choose("curl");
  if (byId("key")) {
    addKey();
    operations.forEach(addForm);
  }
})();
