// What a call costs while it goes on: by service, and how far it is from the limit that ends it.

import { h } from "./dom.js";
import { dollars, nanos } from "./format.js";
import { bounding, inOrder, service } from "./wording.js";

const share = (part, whole) => Math.min(100, Number((part * 1000n) / (whole > 0n ? whole : 1n)) / 10);

export class CostCard {
  constructor(personaName) {
    this.personaName = personaName;
    this.warned = false;
    this.spent = 0n;
    this.limit = null;
    this.cells = new Map();
    this.total = h("p", { class: "stat num", "aria-live": "off" }, dollars(0n));
    this.lines = h("tbody", {});
    this.used = h("span", {});
    this.mark = h("i", {});
    this.bar = h("div", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": "Share of the budget that is used" }, this.used, this.mark);
    this.left = h("p", { class: "soft small" });
    this.bounded = h("div", { hidden: true }, this.bar, this.left);
    this.element = h("section", { class: "card", "aria-label": "What it costs" },
      h("h2", {}, "Cost so far"), this.total, this.bounded,
      h("table", {}, h("caption", { class: "sr" }, "Cost by service"), this.lines));
  }

  /** What it has come to, as the live events tell it each second. */
  tick({ total_usd: total, services }) {
    this.spent = nanos(total);
    this.total.textContent = dollars(this.spent);
    for (const name of inOrder(Object.keys(services ?? {}))) this.cell(name).textContent = dollars(services[name]);
    this.draw();
  }

  /** The same from `/costs`, for a page that has heard of nothing yet, or of the end. */
  settle({ total_usd, lines }) {
    const sums = {};
    for (const line of lines) sums[line.service] = (sums[line.service] ?? 0n) + nanos(line.usd);
    this.tick({ total_usd, services: sums });
  }

  /** Which limit ends it, and where the warning is. What is settled keeps the one it had. */
  bind(limit) {
    if (limit !== null) this.limit = limit;
    this.draw();
  }

  /** The persona has said that it runs out, be it by the percentage or because little time is left. */
  warn() {
    this.warned = true;
    this.draw();
  }

  cell(name) {
    if (!this.cells.has(name)) {
      this.cells.set(name, h("td", { class: "num" }));
      for (const each of inOrder(this.cells.keys())) {
        const cell = this.cells.get(each);
        this.lines.append(cell.parentElement ?? h("tr", {}, h("th", { scope: "row" }, service(each)), cell));
      }
    }
    return this.cells.get(name);
  }

  draw() {
    this.bounded.hidden = this.limit === null;
    if (this.limit === null) return;
    const [most, warns] = [nanos(this.limit.usd), nanos(this.limit.warn_usd)];
    const used = share(this.spent, most);
    const near = this.warned || this.spent >= warns;
    this.bar.className = `bar ${used >= 100 ? "bad" : near ? "warm" : ""}`;
    this.bar.setAttribute("aria-valuenow", used);
    this.bar.setAttribute("aria-valuetext", `${dollars(this.spent)} of ${dollars(most)}`);
    this.used.style.setProperty("width", `${used}%`);
    this.mark.style.setProperty("left", `${share(warns, most)}%`);
    const warning = this.warned ? `${this.personaName} has said so.` : `${this.personaName} says so from about ${dollars(warns)} on, where the mark is.`;
    this.left.textContent = `${used.toFixed(used < 10 ? 1 : 0)} % of ${dollars(most)}: ${bounding(this.limit.by)}. ${warning}`;
  }
}
