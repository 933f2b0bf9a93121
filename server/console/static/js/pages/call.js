// One call that is over: heard again, read, timed, paid.

import { all, file, get, post, Problem } from "../api.js";
import { costOverTime, waterfall } from "../chart.js";
import { busy, fill, h, notice } from "../dom.js";
import { download } from "../download.js";
import { clock, dollars, moment, ms, reason, status } from "../format.js";
import { attempt, ident, page } from "../shell.js";
import { Transcript } from "../transcript.js";
import { player } from "../wave.js";
import { amount, endTone, inOrder, posting, service } from "../wording.js";

/**
 * The recording, heard in step with what was said. It is large, and fetched while all else is there to be read; `seek` does
 * nothing until then.
 */
function listening(call, turns, transcript) {
  const place = h("div", {});
  const shown = { element: h("section", { class: "card", "aria-label": "Listen to it" }, h("h2", {}, "Listen to it"), place), seek: () => {} };
  const begin = () => attempt(async () => {
    fill(place, h("p", { class: "loading", role: "status" }, "Fetching the recording…"));
    try {
      const sound = await (await file(`/api/calls/${call.id}/audio`)).arrayBuffer();
      // Where no journal tells, the recording begins with the stream, and the greeting a frame after it.
      const heard = player(sound, turns, {
        zero: call.files.recording_starts_ms ?? turns.find((turn) => turn.role === "agent")?.started_ms ?? 0,
        onTime: (at) => transcript.highlight(turns.find((turn) => turn.started_ms <= at && at < turn.ended_ms)?.index ?? -1),
      });
      shown.seek = heard.seek;
      fill(place, heard.element);
    } catch (error) {
      const gone = error instanceof Problem && error.status === 404;
      fill(place, gone ? h("p", {}, "The recording is not kept any more.") : h("button", { type: "button", class: "second", onclick: begin }, "Try again"));
      if (!gone) throw error;
    }
  }, { beside: true });
  begin();
  return shown;
}

/** Why there is nothing to listen to. */
function unheard(call) {
  if (call.answered_at === null) return "Nobody answered, so there is nothing to listen to.";
  if (call.files === null) return "The call is being settled; its recording is here a moment later. Reload the page then.";
  return "There is no recording of this call. Whether calls are recorded is the operator's choice (RECORD_CALLS).";
}

/** What guessing at the end of a turn came to: of what is dropped the tokens are paid. */
function eager({ begun, used, dropped_usd }) {
  if (begun === 0) return "none";
  return used === begun ? `${used}, all used` : `${used} of ${begun} used, ${dollars(dropped_usd)} for the others`;
}

function overview(call, persona, account) {
  const facts = [
    ["When", moment(call.created_at, account.timezone)],
    ["Where", call.channel === "browser" ? "in the browser" : `phone ending in ${call.phone_last2 ?? "?"}${call.direction === "inbound" ? ", you rang" : ""}`],
    ["Length", call.duration_seconds === null ? "not answered" : clock(call.duration_seconds)],
    ["Cost", dollars(call.total_usd)],
    ["Answers", call.latency ? `half within ${ms(call.latency.p50_ms)}, nearly all within ${ms(call.latency.p95_ms)}` : "none"],
    ["Answers begun early", eager(call.eager)],
  ];
  return h("section", { class: "card", "aria-label": "The call" },
    h("p", {}, h("span", { class: `badge ${endTone(call)}` }, status(call.status)), h("span", { class: "soft" }, ` ${reason(call.end_reason)}`)),
    h("dl", { class: "grid facts" }, ...facts.map(([name, value]) => h("div", {}, h("dt", { class: "soft small" }, name), h("dd", { class: "num" }, value)))));
}

function costs(found) {
  const order = inOrder(new Set(found.lines.map((line) => line.service)));
  const lines = [...found.lines].sort((one, other) => order.indexOf(one.service) - order.indexOf(other.service));
  return h("section", { class: "card", "aria-label": "What it cost" },
    h("h2", {}, "What it cost"),
    found.per_second.length ? null : h("p", { class: "soft" }, "Nothing was bought."),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Cost by service" }, h("table", { class: "costs" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "For"), h("th", { scope: "col", class: "num" }, "Quantity"), h("th", { scope: "col", class: "num" }, "Cost"))),
      h("tbody", {}, ...lines.map((line) => h("tr", {},
        h("td", {}, service(line.service), h("span", { class: "soft small block" }, line.model)), h("td", { class: "num" }, amount(line.quantity, line.unit)), h("td", { class: "num" }, dollars(line.usd)))))),
    ));
}

function ledger(transactions) {
  return h("section", { class: "card", "aria-label": "In the ledger" }, h("h2", {}, "In the ledger"),
    transactions.length === 0 ? h("p", { class: "soft" }, "Nothing is posted yet; the call is settled a moment after it ends.")
      : h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What"), h("th", { scope: "col", class: "num" }, "Amount"), h("th", { scope: "col", class: "num" }, "Balance after"))),
        h("tbody", {}, ...transactions.map((each) => h("tr", {}, h("td", {}, posting(each.kind), each.note ? h("span", { class: "soft small block" }, each.note) : null), h("td", { class: "num" }, dollars(each.amount_usd)), h("td", { class: "num" }, dollars(each.balance_after_usd)))))));
}

function files(call) {
  const replay = h("button", { type: "button", class: "second" }, "Replay on the server");
  replay.addEventListener("click", () => busy(replay, () => attempt(async () => {
    const result = await post(`/api/calls/${call.id}/replay`);
    notice(result.exact ? "good" : "bad", result.summary);
  })));
  const save = (words, path, name) => h("button", { type: "button", class: "second", onclick: (event) => busy(event.currentTarget, () => attempt(() => download(path, name))) }, words);
  const parts = call.files?.journal_parts ?? 0;
  const journals = parts === 1 ? [["Journal", "", `${call.id}.journal`]]
    : Array.from({ length: parts }, (_, index) => [`Journal, part ${index + 1}`, `?part=${index + 1}`, `${call.id}-part-${index + 1}.journal`]);
  return h("section", { class: "card", "aria-label": "Files" }, h("h2", {}, "Replay and files"),
    h("p", { class: "soft" }, "A replay runs the recorded events through the server again and compares every decision."),
    parts > 1 ? h("p", { class: "soft" }, "The server was restarted in mid-call, so the journal has a part from before and one from after each time. The recording is in one piece.") : null,
    h("div", { class: "actions" }, replay,
      ...journals.map(([words, query, name]) => save(words, `/api/calls/${call.id}/journal${query}`, name)),
      call.files?.recording_parts ? save("Recording", `/api/calls/${call.id}/audio`, `${call.id}.wav`) : null));
}

page(async (root, account) => {
  const call = await get(`/api/calls/${ident()}`);
  const [persona, told, paid, posted] = await Promise.all([
    get(`/api/personas/${call.persona_id}`), get(`/api/calls/${call.id}/transcript`), get(`/api/calls/${call.id}/costs`),
    all(`/api/credits/transactions?call_id=${call.id}`),
  ]);
  document.querySelector("h1").textContent = `Call with ${persona.name}`;
  const transcript = new Transcript(persona.name, (turn) => heard?.seek(turn.started_ms));
  const heard = call.files?.recording_parts ? listening(call, told.items, transcript) : null;
  told.items.forEach((turn) => transcript.put(turn));
  const timed = told.items.filter((turn) => turn.latency);
  fill(root,
    overview(call, persona, account),
    heard?.element ?? h("p", { class: "notice" }, unheard(call)),
    h("div", { class: "two" },
      h("section", { class: "card", "aria-label": "What was said" }, h("h2", {}, "What was said"), transcript.element),
      h("div", {}, costs(paid), ledger(posted), files(call))),
    paid.per_second.length ? h("section", { class: "card", "aria-label": "Cost over time" }, h("h2", {}, "Cost over time"), costOverTime(paid.per_second, call.duration_seconds ?? 0)) : null,
    timed.length ? h("section", { class: "card", "aria-label": "How fast it answered" }, h("h2", {}, "How fast it answered"), waterfall(timed)) : null);
});
