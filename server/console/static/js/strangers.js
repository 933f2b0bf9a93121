// Strangers who ring, for the operator: what they cost, their latest calls, and numbers that are not answered.

import { post, remove } from "./api.js";
import { spendByDay } from "./chart.js";
import { busy, empty, field, h, notice } from "./dom.js";
import { whenSent } from "./form.js";
import { clock, dollars, moment, nanos, reason, status, tone } from "./format.js";
import { attempt } from "./shell.js";
import { table } from "./table.js";

const ANSWERED = {
  everybody: "Whoever rings is answered; strangers have a short trial that the operator pays.",
  users: "Only callers who key in a PIN are answered (INBOUND_CALLS=users).",
  off: "Nobody who rings is answered (INBOUND_CALLS=off).",
};

const number = (last2) => (last2 === null ? "number withheld" : `number ending in ${last2}`);

/** A button that does this once, then shows everything anew. */
function doing(words, label, work, changed) {
  const button = h("button", { type: "button", class: "second", "aria-label": label }, words);
  button.addEventListener("click", () => busy(button, () => attempt(async () => {
    await work();
    await changed();
  })));
  return button;
}

function today(found) {
  const used = nanos(found.spent_today_usd) + nanos(found.held_usd);
  const limit = nanos(found.daily_usd);
  const percent = limit === 0n ? 100 : Math.min(100, Number((used * 100n) / limit));
  const filled = h("span", {});
  filled.style.setProperty("width", `${percent}%`);
  return h("div", { class: "grid" },
    h("div", {}, h("p", { class: "soft small" }, "Today, UTC"), h("p", { class: "stat" }, dollars(used)),
      h("div", { class: `bar ${percent >= 100 ? "bad" : percent >= 80 ? "warm" : ""}`, role: "progressbar", "aria-label": "Strangers today: share of the daily budget", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": percent }, filled),
      h("p", { class: "soft small" }, `of ${dollars(limit)} a day (INBOUND_DAILY_USD); ${dollars(found.left_today_usd)} left`)),
    h("div", {}, h("p", { class: "soft small" }, "This month"), h("p", { class: "stat" }, dollars(found.month_usd)),
      h("p", { class: "soft small" }, `${found.month_calls} ${found.month_calls === 1 ? "call" : "calls"}`)));
}

function latest(found, changed) {
  if (found.calls.length === 0) return empty("No stranger has rung yet", "Whoever rings this server's number without a PIN appears here.");
  return table("Strangers' calls", [["When"], ["Who"], ["Persona"], ["How it went"], ["Length", "num"], ["Cost", "num"], ["Answer them"]], found.calls.map((call) => [
    moment(call.created_at), number(call.phone_last2), call.persona_id,
    [h("span", { class: `badge ${tone(call.status)}` }, status(call.status)), " ", h("span", { class: "soft small" }, reason(call.end_reason))],
    call.seconds === null ? "–" : clock(call.seconds), dollars(call.total_usd),
    call.blocked ? h("span", { class: "badge warm" }, "blocked")
      : doing("Block", `Block the ${number(call.phone_last2)}`, async () => {
        await post(`/api/admin/strangers/${call.id}/block`);
        notice("good", call.phone_last2 === null ? "Nobody who withholds their number is answered any more." : "This number is not answered any more.");
      }, changed),
  ])).element;
}

function blocks(found, changed) {
  if (found.blocks.length === 0) return h("p", { class: "soft" }, "No number is blocked.");
  return h("ul", { class: "plain lines", "aria-label": "Blocked numbers" }, ...found.blocks.map((block) => {
    const who = block.withheld ? "All who withhold their number" : block.phone_last2 === null ? "A number" : `The ${number(block.phone_last2)}`;
    return h("li", {},
      h("span", {}, h("b", {}, who), h("span", { class: "soft small" }, ` since ${moment(block.at)}, by ${block.by || "the operator"}`)),
      doing("Answer again", `Answer again: ${who}`, async () => {
        await remove(`/api/admin/inbound-blocks/${block.id}`);
        notice("good", `${who} ${block.withheld ? "are" : "is"} answered again.`);
      }, changed));
  }));
}

function blocking(changed) {
  const input = h("input", { type: "text", name: "phone", placeholder: "+1 202 555 0142", maxlength: 40, autocomplete: "off" });
  const button = h("button", { type: "submit", class: "second" }, "Block it");
  const form = h("form", { class: "row", novalidate: true }, field("Block a number", input, "With its country code; or “withheld”, for all who do not show theirs."), h("div", { class: "actions" }, button));
  whenSent(form, button, async () => {
    const done = await post("/api/admin/inbound-blocks", { phone: input.value.trim(), blocked: true });
    notice("good", `${done.phone === "withheld" ? "Nobody who withholds their number" : done.phone} is ${done.phone === "withheld" ? "answered any more" : "not answered any more"}.`);
    await changed();
  });
  return form;
}

/** The section. `changed` shows it anew. */
export function strangers(found, changed) {
  return h("section", { class: "card", "aria-label": "Strangers who ring" }, h("h2", {}, "Strangers who ring"),
    h("p", { class: "soft" }, ANSWERED[found.answered]),
    today(found),
    found.days.length ? spendByDay(found.days) : null,
    latest(found, changed),
    h("h3", {}, "Numbers that are not answered"), blocks(found, changed), blocking(changed));
}
