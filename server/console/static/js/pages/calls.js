// All my calls, newest first, and what was said in them.

import { get } from "../api.js";
import { empty, fill, h } from "../dom.js";
import { clock, dollars, moment, ms, reason, status, tone } from "../format.js";
import { page } from "../shell.js";
import { partByPart, table } from "../table.js";
import { wordSearch } from "../word-search.js";

const LIVE = new Set(["queued", "initiated", "ringing", "in-progress"]);

const COLUMNS = [["When"], ["Who"], ["Where"], ["How it went"], ["Length", "num"], ["Answers, half / nearly all", "num"], ["Cost", "num"]];

function row(call, personas) {
  const where = LIVE.has(call.status) ? `/live/${call.id}` : `/calls/${call.id}`;
  return [
    h("a", { href: where }, moment(call.created_at)),
    personas.get(call.persona_id) ?? call.persona_id,
    [call.channel === "browser" ? "Browser" : `Phone …${call.phone_last2 ?? ""}`, call.direction === "inbound" ? h("span", { class: "soft small" }, " you rang") : ""],
    [h("span", { class: `badge ${tone(call.status)}` }, status(call.status)), " ", h("span", { class: "soft small" }, reason(call.end_reason))],
    call.duration_seconds === null ? "–" : clock(call.duration_seconds),
    call.latency ? `${ms(call.latency.p50_ms)} / ${ms(call.latency.p95_ms)}` : "–",
    dollars(call.total_usd),
  ];
}

page(async (root) => {
  const names = new Map((await get("/api/personas")).items.map((persona) => [persona.id, persona.name]));
  const list = table("My calls", COLUMNS, []);
  const { number, more } = await partByPart("Show earlier calls",
    (cursor) => get(`/api/calls?limit=20${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`),
    (items) => list.add(items.map((call) => row(call, names))));
  if (number === 0) {
    fill(root, empty("No calls yet", "Pick a persona and let your phone ring, or talk in the browser.", h("a", { class: "button", href: "/" }, "Start a call")));
    return;
  }
  fill(root, wordSearch(names), h("section", { class: "card", "aria-label": "Calls" }, list.element, more));
});
