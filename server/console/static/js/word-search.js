// Find what was said in my calls, by its words.

import { get } from "./api.js";
import { busy, empty, field, fill, h } from "./dom.js";
import { clock, moment } from "./format.js";
import { attempt } from "./shell.js";
import { partByPart } from "./table.js";

/** The text with its hits marked; ranges count code points, as the server does. */
function marked(text, hits) {
  const letters = [...text];
  const parts = [];
  let done = 0;
  for (const { start, end } of hits) {
    parts.push(letters.slice(done, start).join(""), h("mark", {}, letters.slice(start, end).join("")));
    done = end;
  }
  return [...parts, letters.slice(done).join("")];
}

function line(found, names) {
  return h("li", { class: "card" },
    h("p", {}, h("b", {}, found.role === "agent" ? (names.get(found.persona_id) ?? found.persona_id) : "You"), ": ", ...marked(found.snippet, found.hits)),
    h("p", { class: "soft small" }, h("a", { href: `/calls/${found.call_id}` }, moment(found.called_at)), ` with ${names.get(found.persona_id) ?? found.persona_id}, ${clock(found.started_ms / 1000)} into the call`));
}

/** The form and what it found. `names`: of personas, by their ids. */
export function wordSearch(names) {
  const wanted = h("input", { type: "search", name: "q", maxlength: 200, required: true });
  const button = h("button", { type: "submit" }, "Search");
  const shown = h("div", { "aria-live": "polite" });
  const form = h("form", { class: "row", role: "search", "aria-label": "What was said", novalidate: true },
    field("Find what was said", wanted, "All words in one line; “in a row” in quotation marks, or begin*."), h("div", { class: "actions" }, button));
  const search = async () => {
    const words = wanted.value.trim().replaceAll(/[“”„]/g, '"');
    if (words === "") {
      fill(shown);
      wanted.focus();
      return;
    }
    const list = h("ul", { class: "plain", "aria-label": "Found" });
    const { number, more } = await partByPart("Show more",
      (cursor) => get(`/api/transcripts?q=${encodeURIComponent(words)}${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`),
      (items) => list.append(...items.map((found) => line(found, names))));
    fill(shown, number === 0 ? empty("Nothing found", "Nobody said these words in one line. Try fewer of them, or the beginning of one: birth*.") : [list, more].flat());
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(button, () => attempt(search));
  });
  return h("div", { class: "card" }, form, shown);
}
