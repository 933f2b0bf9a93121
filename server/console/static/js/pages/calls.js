// All my calls, newest first.

import { get } from "../api.js";
import { empty, fill, h } from "../dom.js";
import { clock, dollars, moment, ms, reason, status, tone } from "../format.js";
import { page } from "../shell.js";

const LIVE = new Set(["queued", "initiated", "ringing", "in-progress"]);

function row(call, personas, account) {
  const live = LIVE.has(call.status);
  const where = live ? `/live/${call.id}` : `/calls/${call.id}`;
  return h("tr", {},
    h("td", {}, h("a", { href: where }, moment(call.created_at, account.timezone))),
    h("td", {}, personas.get(call.persona_id) ?? call.persona_id),
    h("td", {}, call.channel === "browser" ? "Browser" : `Phone …${call.phone_last2 ?? ""}`,
      call.direction === "inbound" ? h("span", { class: "soft small" }, " you rang") : ""),
    h("td", {}, h("span", { class: `badge ${tone(call.status)}` }, status(call.status)), " ", h("span", { class: "soft small" }, reason(call.end_reason))),
    h("td", { class: "num" }, call.duration_seconds === null ? "" : clock(call.duration_seconds)),
    h("td", { class: "num" }, call.latency ? `${ms(call.latency.p50_ms)} / ${ms(call.latency.p95_ms)}` : ""),
    h("td", { class: "num" }, dollars(call.total_usd)));
}

page(async (root, account) => {
  const names = new Map((await get("/api/personas")).items.map((persona) => [persona.id, persona.name]));
  const body = h("tbody", {});
  const more = h("button", { type: "button", class: "second" }, "Show earlier calls");
  let cursor = null;
  const load = async () => {
    const found = await get(`/api/calls?limit=20${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`);
    body.append(...found.items.map((call) => row(call, names, account)));
    cursor = found.next_cursor;
    more.hidden = cursor === null;
    return found.items.length;
  };
  if ((await load()) === 0) {
    fill(root, empty("No calls yet", "Pick a persona and let your phone ring, or talk in the browser.", h("a", { class: "button", href: "/" }, "Start a call")));
    return;
  }
  more.addEventListener("click", load);
  fill(root, h("div", { class: "card scroll", tabindex: 0, role: "region", "aria-label": "My calls" },
    h("table", {},
      h("thead", {}, h("tr", {}, ...["When", "Who", "Where", "How it went"].map((words) => h("th", { scope: "col" }, words)),
        ...["Length", "Answers p50 / p95", "Cost"].map((words) => h("th", { scope: "col", class: "num" }, words)))),
      body)), more);
});
