// Scheduled calls that were missed: told on every page until they were seen.

import { get, post } from "./api.js";
import { busy, content, h } from "./dom.js";
import { when } from "./format.js";
import { attempt } from "./shell.js";

export async function tellMissed(account) {
  const { items } = await get("/api/missed-calls");
  if (!items.length) return;
  const latest = items[0];
  const many = items.length === 1 ? "A scheduled call was missed" : `${items.length} scheduled calls were missed, the latest`;
  const known = h("button", { type: "button", class: "second" }, "I have seen it");
  const told = h("div", { class: "notice warm", role: "status", id: "missed" },
    h("p", {}, h("strong", {}, `${many}: `), `${when(latest.run_at, account.timezone)}. ${latest.detail} `, h("a", { href: "/schedules" }, "Your schedules")),
    h("div", { class: "actions" }, known));
  known.addEventListener("click", () => busy(known, () => attempt(async () => {
    await post("/api/missed-calls/seen", { until: latest.at });
    told.remove();
  })));
  content().before(told);
}
