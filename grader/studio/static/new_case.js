// The form of a new case: a button puts a step into the text, in the form in which it was written.
"use strict";

(() => {
  const area = document.getElementById("case");

  function written(value) {
    const lines = Object.entries(value).map(([key, item]) => {
      const steps = key === "steps" && Array.isArray(item) && item.length;
      const text = steps ? `[\n${item.map((step) => `    ${JSON.stringify(step)}`).join(",\n")}\n  ]` : JSON.stringify(item);
      return `  ${JSON.stringify(key)}: ${text}`;
    });
    return `{\n${lines.join(",\n")}\n}`;
  }

  function add(verb) {
    let value = null;
    try {
      value = JSON.parse(area.value);
    } catch {
      value = null;
    }
    const step = { do: verb };
    area.focus();
    if (value && typeof value === "object" && Array.isArray(value.steps)) {
      value.steps.push(step);
      area.setRangeText(written(value), 0, area.value.length, "end");
    } else {
      area.setRangeText(JSON.stringify(step), area.selectionStart, area.selectionEnd, "end");
    }
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  document.querySelectorAll("[data-verb]").forEach((button) => button.addEventListener("click", () => add(button.dataset.verb)));
  document.getElementById("trial").addEventListener("submit", (event) => event.preventDefault());
})();
