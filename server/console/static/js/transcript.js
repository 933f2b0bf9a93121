// What was said, a line a turn. Of the persona's words only those that were heard are shown.

import { h } from "./dom.js";
import { clock } from "./format.js";

export class Transcript {
  /** `onPick(turn)`, if given, is told when a line is chosen. */
  constructor(personaName, onPick = null) {
    this.personaName = personaName;
    this.onPick = onPick;
    this.rows = new Map();
    this.turns = new Map();
    this.element = h("ol", { class: "turns", "aria-live": "polite", "aria-relevant": "additions" });
    this.empty = h("li", { class: "soft" }, "Nothing has been said yet.");
    this.element.append(this.empty);
  }

  /** Add a turn, or what became known of one. */
  put(turn) {
    if (turn.index === undefined) return; // only who is heard just now
    const known = { ...this.turns.get(turn.index), ...turn };
    this.turns.set(turn.index, known);
    if (known.text === undefined) return;
    this.empty.remove();
    const row = this.row(known);
    const earlier = this.rows.get(turn.index);
    if (earlier) earlier.replaceWith(row);
    else this.place(turn.index, row);
    this.rows.set(turn.index, row);
  }

  place(index, row) {
    const after = [...this.rows.keys()].filter((other) => other > index).sort((one, other) => one - other)[0];
    if (after === undefined) this.element.append(row);
    else this.rows.get(after).before(row);
    row.scrollIntoView({ block: "nearest" });
  }

  row(turn) {
    const who = turn.role === "agent" ? this.personaName : "You";
    const head = h("span", { class: "who" }, who, h("span", { class: "num" }, ` ${clock(turn.started_ms / 1000)}`),
      turn.interrupted ? h("span", { class: "badge warm" }, "interrupted") : null);
    const text = h("div", {}, turn.text, turn.interrupted ? "…" : "");
    const body = this.onPick === null ? [head, text]
      : [h("button", { type: "button", class: "line quiet", onclick: () => this.onPick(turn) }, head, text)];
    return h("li", { class: `turn ${turn.role}`, "data-turn": turn.index }, ...body);
  }

  /** Mark the line that sounds now. */
  highlight(index) {
    for (const [each, row] of this.rows) row.toggleAttribute("data-now", each === index);
  }
}
