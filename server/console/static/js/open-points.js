// What a scenario leaves open, as fields; where a call and a schedule are made.

import { field, fill, h } from "./dom.js";

/** A place that shows a field for everything that the scenario shown last leaves open. */
export function openPoints() {
  const element = h("div", { class: "row" });
  return {
    element,
    show(scenario) {
      fill(element, ...(scenario?.variables ?? []).map((each) =>
        field(each.name.replaceAll("_", " "), h("input", {
          "data-variable": each.name, name: `variables.${each.name}`, maxlength: 200, placeholder: each.default ?? "", required: each.default === null,
        }), each.default === null ? "The scenario needs this." : null)));
    },
    /** What was filled in, as the API takes it. */
    said() {
      const given = [...element.querySelectorAll("[data-variable]")].map((each) => [each.dataset.variable, each.value.trim()]);
      return Object.fromEntries(given.filter(([, value]) => value !== ""));
    },
  };
}
