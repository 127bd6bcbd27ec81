// The sentence under the grid of permissions: what the key could do as the form is now.
(() => {
  "use strict";

  const LIST = new Intl.ListFormat("en-GB");

  const abilityOf = (input) => input.closest("tr")?.querySelector("[name=write_only]:checked") && input.dataset.ability === "both"
    ? "change"
    : input.dataset.ability;

  // The words are the server's, and so is their order: that of `sentence_of`.
  const sentenceOf = (field, words) => {
    const option = field.querySelector("[name=access]:checked");
    if (option === null) return words.nothing;
    if (option.dataset.sentence !== undefined) return option.dataset.sentence;
    const nouns = { read: [], both: [], change: [], use: [] };
    for (const input of field.querySelectorAll("[data-ability]:checked")) {
      nouns[abilityOf(input)].push(input.dataset.noun);
    }
    const abilities = Object.keys(nouns).filter((ability) => nouns[ability].length > 0);
    const parts = abilities.map((ability) => words[ability].replace("{}", LIST.format(nouns[ability])));
    if (parts.length === 0) return words.nothing;
    return (abilities.join() === "read" ? [...parts, words.never] : parts).join(" ");
  };

  const keepCurrent = (field) => {
    const sentence = field.querySelector("[data-access]");
    const text = sentenceOf(field, sentence.dataset);
    if (sentence.textContent !== text) sentence.textContent = text;
    sentence.hidden = false;
  };

  const showSentences = () => document.querySelectorAll(".access-field").forEach(keepCurrent);

  document.addEventListener("change", (event) => {
    const field = event.target.closest(".access-field");
    if (field !== null) keepCurrent(field);
  });

  document.addEventListener("htmx:after:swap", showSentences);
  document.addEventListener("DOMContentLoaded", showSentences);
})();
