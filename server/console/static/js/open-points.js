// What a scenario leaves open: as fields where a call and a schedule are made, and as words where it is read.

import { field, fill, h } from "./dom.js";

/** As in `pipeline/core/scenario.py`, which decides; here it is only shown. */
const PLACE = /\{([a-z][a-z0-9_]{0,31})(?:\|([^{}]*))?\}/g;
const PERSON = "name";

export const spoken = (name) => name.replaceAll("_", " ");

/** What texts leave open, in the order of their first use: `{name, default}`, null where a call has to say it. */
export function openIn(...texts) {
  const found = new Map();
  for (const [, name, otherwise] of texts.flatMap((text) => [...text.matchAll(PLACE)])) {
    if (name !== PERSON && (found.get(name) ?? null) === null) found.set(name, otherwise ?? null);
  }
  return [...found].map(([name, otherwise]) => ({ name, default: otherwise }));
}

/** A template for reading: each open point as what it is filled with, else its default, else its name. */
export function readable(template, said = {}) {
  const parts = [];
  let done = 0;
  const defaults = new Map(openIn(template).map((each) => [each.name, each.default]));
  for (const place of template.matchAll(PLACE)) {
    const [whole, name] = place;
    const words = name === PERSON ? "your name" : (said[name] ?? defaults.get(name) ?? spoken(name));
    parts.push(template.slice(done, place.index), h("mark", { class: "open", title: spoken(name) }, words));
    done = place.index + whole.length;
  }
  return [...parts, template.slice(done)];
}

/** A place that shows a field for everything that the scenario shown last leaves open; `given` fills them in. */
export function openPoints() {
  const element = h("div", { class: "row" });
  return {
    element,
    show(scenario, given = {}) {
      fill(element, ...(scenario?.variables ?? []).map((each) =>
        field(spoken(each.name), h("input", {
          "data-variable": each.name, name: `variables.${each.name}`, maxlength: 200, placeholder: each.default ?? "", required: each.default === null,
          value: given[each.name] ?? null,
        }), each.default === null ? "The scenario needs this." : `Left empty, it is “${each.default}”.`)));
    },
    /** What was filled in, as the API takes it. */
    said() {
      const given = [...element.querySelectorAll("[data-variable]")].map((each) => [each.dataset.variable, each.value.trim()]);
      return Object.fromEntries(given.filter(([, value]) => value !== ""));
    },
  };
}
