// What was said, a line a turn, and below it what is being said just now. Of the persona's words in a turn those that
// were heard are shown as said; what was cut off is marked, where it is known.

import { fill, h } from "./dom.js";
import { clock } from "./format.js";

function inView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return top < innerHeight && bottom > 0;
}

export class Transcript {
  /** `onPick(turn)`, if given, is told when a line is chosen. */
  constructor(personaName, onPick = null) {
    this.personaName = personaName;
    this.onPick = onPick;
    this.rows = new Map();
    this.turns = new Map();
    this.now = { agent: { text: "", speaks: false }, caller: { text: "", speaks: false } };
    this.empty = h("p", { class: "soft" }, "Nothing has been said yet.");
    this.list = h("ol", { class: "turns", "aria-live": "polite", "aria-relevant": "additions" });
    this.live = h("ol", { class: "turns", "aria-live": "off", "aria-label": "Being said just now" });
    this.element = h("div", { class: "transcript" }, this.empty, this.list, this.live);
    this.showNow();
  }

  /** Add a turn, or what became known of one; or of what is said just now. */
  put(turn) {
    if (turn.index === undefined) {
      this.heardNow(turn);
      return;
    }
    const known = { ...this.turns.get(turn.index), ...turn };
    this.turns.set(turn.index, known);
    if (known.text === undefined) return;
    const row = this.row(known);
    const earlier = this.rows.get(turn.index);
    if (earlier) earlier.replaceWith(row);
    else this.place(turn.index, row);
    this.rows.set(turn.index, row);
    if (turn.role) this.now[turn.role].text = ""; // also of one that is known: events come again after a reload
    this.showNow();
  }

  /** `saying`: the words so far of the turn that is not over; `speaking`: whether a voice is heard. */
  heardNow({ role, saying, speaking }) {
    if (saying !== undefined) this.now[role].text = saying;
    if (speaking !== undefined) this.now[role].speaks = speaking;
    this.showNow();
  }

  /** Nobody says anything any more. */
  quiet() {
    this.now = { agent: { text: "", speaks: false }, caller: { text: "", speaks: false } };
    this.showNow();
  }

  showNow() {
    const shown = Object.entries(this.now).filter(([, { text, speaks }]) => text !== "" || speaks);
    fill(this.live, ...shown.map(([role, { text }]) =>
      h("li", { class: `saying ${role}` }, h("span", { class: "who" }, this.who(role)), h("div", {}, text === "" ? "…" : text))));
    this.live.hidden = shown.length === 0;
    this.empty.hidden = shown.length > 0 || this.rows.size > 0;
  }

  place(index, row) {
    const after = [...this.rows.keys()].filter((other) => other > index).sort((one, other) => one - other)[0];
    if (after !== undefined) {
      this.rows.get(after).before(row);
      return;
    }
    // Whoever reads something else, above or below, is left there.
    const follows = inView(this.list.lastElementChild ?? this.element);
    this.list.append(row);
    if (follows) row.scrollIntoView({ block: "nearest" });
  }

  who(role) {
    return role === "agent" ? this.personaName : "You";
  }

  row(turn) {
    const head = h("span", { class: "who" }, this.who(turn.role), h("span", { class: "num" }, ` ${clock(turn.started_ms / 1000)}`),
      turn.interrupted ? h("span", { class: "badge warm" }, "interrupted") : null);
    const text = h("div", {}, turn.text, turn.interrupted && !turn.unheard ? "…" : "");
    const rest = turn.unheard ? h("p", { class: "unheard" }, h("span", { class: "sr" }, "Not heard any more: "), h("s", {}, turn.unheard)) : null;
    const body = this.onPick === null ? [head, text, rest]
      : [h("button", { type: "button", class: "line quiet", onclick: () => this.onPick(turn) }, head, text), rest];
    return h("li", { class: `turn ${turn.role}`, "data-turn": turn.index }, ...body);
  }

  /** Mark the line that sounds now. */
  highlight(index) {
    for (const [each, row] of this.rows) row.toggleAttribute("data-now", each === index);
  }
}
