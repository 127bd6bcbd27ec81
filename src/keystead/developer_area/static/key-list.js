// What scripts add to the list of keys: one menu for all rows, and the bar of what is checked.
(() => {
  "use strict";

  const menu = () => document.getElementById("acts");

  // --- the menu: without scripts its link leads to the key's page ---

  const openMenu = (dots) => {
    const [path, query] = dots.getAttribute("href").split("?");
    const acts = dots.dataset.acts.split(" ");
    document.getElementById("acts-title").textContent = dots.getAttribute("aria-label");
    for (const link of menu().querySelectorAll("[data-act]")) {
      const url = `${path}/${link.dataset.act}${query === undefined ? "" : `?${query}`}`;
      link.parentElement.hidden = !acts.includes(link.dataset.act);
      link.setAttribute("href", url);
      link.setAttribute("hx-get", url);
    }
    dots.focus();
    menu().showPopover({ source: dots });
    dots.setAttribute("aria-expanded", "true");
    menu().addEventListener("beforetoggle", () => dots.setAttribute("aria-expanded", "false"), { once: true });
    menu().querySelector("li:not([hidden]) a").focus();
  };

  const isPlain = (event) => !(event.ctrlKey || event.metaKey || event.shiftKey);

  document.addEventListener("click", (event) => {
    const dots = event.target.closest(".dots");
    if (dots === null || !isPlain(event)) return;
    event.preventDefault();
    if (menu().matches(":popover-open")) menu().hidePopover();
    else openMenu(dots);
  });

  // Before htmx sees the click, so that the focus is back on what opened the menu, and the dialog returns it there.
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-act]") !== null && isPlain(event)) menu().hidePopover();
  }, true);

  document.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined || !event.target.matches("[data-act]")) return;
    event.preventDefault();
    const links = [...menu().querySelectorAll("li:not([hidden]) a")];
    links.at((links.indexOf(event.target) + step) % links.length).focus();
  });

  // --- what is checked ---

  const boxes = () => [...document.querySelectorAll(".keys [name=key]")];
  const whole = () => document.querySelector("[name=whole]");

  const showSelection = () => {
    const form = document.getElementById("selected");
    if (form === null) return;
    const checked = boxes().filter((box) => box.checked).length;
    const count = whole()?.checked ? whole().parentElement.textContent.replace(/\D+/g, "") : checked;
    form.querySelector("[data-selected]").textContent = count ? `${Number(count).toLocaleString("en")} selected` : "";
    const page = document.querySelector("[data-select-page]");
    page.checked = checked > 0 && checked === boxes().length;
    page.indeterminate = checked > 0 && !page.checked;
  };

  const check = (state) => {
    for (const box of boxes()) box.checked = state;
  };

  document.addEventListener("change", (event) => {
    const box = event.target;
    if (box.matches("[data-select-page], [name=whole]")) check(box.checked);
    if (box.matches("[data-select-page], [name=key]") && whole() !== null && !box.checked) whole().checked = false;
    if (box.matches("[data-select-page], [name=whole], [name=key]")) showSelection();
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-clear]") === null) return;
    check(false);
    if (whole() !== null) whole().checked = false;
    showSelection();
    document.querySelector("[data-select-page]").focus();
  });

  // htmx sends a form to one address: that of the pressed button.
  document.addEventListener("submit", (event) => {
    const url = event.submitter?.getAttribute("formaction");
    if (event.target.id === "selected" && url) event.target.setAttribute("hx-get", url);
  }, true);

  // --- after the page has loaded, or htmx has put a new list into it ---

  const prepare = () => {
    for (const dots of document.querySelectorAll(".dots:not([role])")) {
      dots.setAttribute("role", "button");
      dots.setAttribute("aria-haspopup", "true");
      dots.setAttribute("aria-expanded", "false");
    }
    for (const shown of document.querySelectorAll("[data-select-page], [data-clear]")) shown.hidden = false;
    showSelection();
  };

  // The whole of a name that is cut off, for the mouse; the keyboard gets it on focus.
  document.addEventListener("mouseover", (event) => {
    const name = event.target.closest(".name a");
    if (name !== null && name.scrollWidth > name.clientWidth) name.title = name.textContent;
  });

  document.addEventListener("htmx:after:swap", prepare);
  document.addEventListener("DOMContentLoaded", prepare);
})();
