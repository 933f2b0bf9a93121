// What runs where, what it costs, whether all is well; and what an operator may do about it.

import { get, OrderKeys, post, Problem } from "../api.js";
import { spendByDay } from "../chart.js";
import { busy, empty, field, fill, h, notice } from "../dom.js";
import { attemptIn, whenSent } from "../form.js";
import { clock, dollars, moment, ms, nanos, status, tone } from "../format.js";
import { attempt, page } from "../shell.js";
import { strangers } from "../strangers.js";
import { table as figures } from "../table.js";
import { actor, deed, job as kindOf, service } from "../wording.js";

const REFRESH_MS = 5000;
const SPEND_MS = 60_000;
const STATES = { "built-in": ["good", "works, in the server itself"], closed: ["good", "works"], "half-open": ["warm", "being tried"], open: ["bad", "down"] };

const WORK = { pending: "waiting", claimed: "under way", failing: "failed, is tried again", dead: "given up" };
const TONES = { failing: "warm", dead: "bad" };

const section = (title, ...parts) => h("section", { class: "card", "aria-label": title }, h("h2", {}, title), ...parts);

const table = (...given) => figures(...given).element;

const short = (id) => h("code", { title: id }, id.slice(0, 8));
const since = (iso, now) => clock((Date.parse(now) - Date.parse(iso)) / 1000);

function calls(found) {
  const more = found.live_calls - found.calls.length;
  return section(`Calls now: ${found.live_calls}`,
    found.calls.length === 0 ? empty("No call is going on", "Calls of all nodes appear here while they ring and while people talk.")
      : table("Calls now", [["Who"], ["Persona"], ["State"], ["Node"], ["For", "num"], ["Cost", "num"]], found.calls.map((call) => [
        call.email, `${call.persona_id}${call.channel === "browser" ? ", in the browser" : ""}`,
        h("span", { class: `badge ${tone(call.status)}` }, status(call.status)), short(call.node),
        call.answered_at === null ? "–" : since(call.answered_at, found.now), dollars(call.total_usd)])),
    more > 0 ? h("p", { class: "soft small" }, `and ${more} more`) : null);
}

/** Seconds from its start to its last sign of life; of a node that lives, until now. */
function lived(node, now) {
  const until = Date.parse(now) - (node.alive ? 0 : node.silent_seconds * 1000);
  return Math.max(0, (until - Date.parse(node.started_at)) / 1000);
}

function nodes(found) {
  return section("Nodes", table("Nodes", [["Node"], ["State"], ["Calls", "num"], ["Up for", "num"], ["Version"]], found.nodes.map((node) => [
    h("span", {}, short(node.id), node.here ? h("span", { class: "soft small" }, " this one, ") : " ", h("span", { class: "soft small" }, node.url)),
    node.alive ? h("span", { class: `badge ${node.draining ? "warm" : "good"}` }, node.draining ? "drains" : "takes calls")
      : h("span", { class: "badge" }, `silent for ${clock(node.silent_seconds)}`),
    String(node.calls), clock(lived(node, found.now)), node.version])));
}

function speed(engine) {
  return engine.speed === null ? "no answer yet" : `${ms(engine.speed.p50_ms)} / ${ms(engine.speed.p95_ms)}`;
}

/** "stt:whisper-tiny.en" → "Listening whisper-tiny.en". */
function engineName(name) {
  const [seam, ...model] = name.split(":");
  return [h("b", {}, service(seam)), ` ${model.join(":")}`];
}

function engines(found) {
  return section("Engines", found.engines.length === 0
    ? h("p", { class: "soft" }, "No node lives that has engines.")
    : table("Engines", [["Engine"], ["Node"], ["State"], ["Waited for it, half / nearly all", "num"], ["Failures", "num"], ["Times down", "num"]], found.engines.map((engine) => [
      engineName(engine.name), short(engine.node), h("span", { class: `badge ${STATES[engine.state]?.[0] ?? ""}` }, STATES[engine.state]?.[1] ?? engine.state),
      speed(engine), ...(engine.state === "built-in" ? ["–", "–"] : [String(engine.failures), String(engine.openings)])])),
    h("p", { class: "soft small" }, "What the latest answers of each node waited for: the end of your turn, the first word, the first sound."));
}

function work(found) {
  const dead = found.dead_jobs.map((job) => h("li", {}, h("b", {}, kindOf(job.kind)), `, tried ${job.attempts} times: ${job.error}`));
  return section("Background work",
    found.jobs.length === 0 ? h("p", { class: "soft" }, "Nothing waits.")
      : table("Background work", [["What"], ["State"], ["How many", "num"]], found.jobs.map((job) => [
        kindOf(job.kind), h("span", { class: `badge ${TONES[job.status] ?? ""}` }, WORK[job.status] ?? job.status), String(job.number)])),
    dead.length ? h("ul", { class: "plain small" }, ...dead) : null);
}

function books(found) {
  const lost = Object.entries(found.books.losses_usd);
  const sold = found.packs.filter((pack) => ["paid", "refunded"].includes(pack.status));
  const facts = [
    ["Set aside for calls", `${dollars(found.books.held_usd)} for ${found.books.holds} ${found.books.holds === 1 ? "call" : "calls"}`],
    ["Beyond what was set aside", dollars(found.books.exposed_usd)],
    ["Paid by the operator", lost.length ? lost.map(([reason, usd]) => `${reason.replaceAll("_", " ")} ${dollars(usd)}`).join(", ") : "nothing"],
    ["Credit packs sold", sold.length ? sold.map((pack) => `${pack.number} for ${dollars(pack.usd)}${pack.reversed_usd === "0.00" ? "" : `, ${dollars(pack.reversed_usd)} given back`}`).join("; ") : "none"],
    ["Numbers that want no calls", String(found.opt_outs)],
  ];
  return h("dl", { class: "grid facts books" }, ...facts.map(([name, value]) => h("div", {}, h("dt", { class: "soft small" }, name), h("dd", { class: "num" }, value))));
}

function audited(audit) {
  if (audit.waiting) return h("p", { class: "notice", role: "status" }, "An audit is under way; its result appears here.");
  if (audit.result === null) return h("p", { class: "soft" }, "The books were not audited from here yet.");
  const { result } = audit;
  const words = `${result.calls} calls, ${result.charges} charges, ${result.explained_percent} % of the money explained, ${result.breaches} breaches`;
  return h("div", {},
    h("p", { class: `notice ${result.ok ? "good" : "bad"}` }, `${result.ok ? "The books are right" : "The books are not right"}: ${words}. `, h("span", { class: "small" }, moment(audit.at))),
    result.ok ? null : h("ul", { class: "small" }, ...result.first.map((each) => h("li", {}, `${each.invariant}, ${each.subject}: ${each.detail}`))));
}

function log(found) {
  return section("What was done by hand", found.log.length === 0 ? empty("Nothing yet", "What operators do, here or on the command line, is written down here.")
    : table("What was done by hand", [["When"], ["Who"], ["What"], ["About"], ["Detail"]], found.log.filter((one) => one.action !== "audit.result").map((one) => [
      moment(one.at), actor(one.actor), deed(one.action), one.subject.length > 24 ? short(one.subject) : one.subject || "–", one.detail || "–"])));
}

function spending(found) {
  return section("What calls cost",
    h("div", { class: "grid" },
      h("div", {}, h("p", { class: "soft small" }, "Today, UTC"), h("p", { class: "stat" }, dollars(found.today_usd))),
      h("div", {}, h("p", { class: "soft small" }, "This month"), h("p", { class: "stat" }, dollars(found.month_usd)))),
    found.days.some((each) => nanos(each.usd) > 0n) ? spendByDay(found.days)
      : empty(found.days.length ? "No call has cost anything in the last month" : "No call in the last month",
        "What calls cost is drawn here by the day, from the first one that somebody answers.", h("a", { href: "/" }, "Place a call")),
    found.services.length ? table("By service this month", [["Service"], ["Model"], ["Cost", "num"]], found.services.map((each) => [service(each.service), each.model, dollars(each.usd)])) : null);
}

function granting(person, changed) {
  const button = h("button", { type: "submit" }, "Grant it");
  const keys = new OrderKeys(); // pressed twice, granted once: the form is made anew after a grant
  const form = h("form", { class: "row", novalidate: true },
    field("Dollars", h("input", { name: "usd", inputmode: "decimal", placeholder: "5.00" })),
    field("What for", h("input", { name: "note", maxlength: 200, value: "granted by the operator" })),
    h("div", { class: "actions" }, button));
  whenSent(form, button, async () => {
    const grant = { usd: form.elements.usd.value.trim(), note: form.elements.note.value.trim() || "granted by the operator" };
    const done = await post(`/api/admin/users/${person.id}/credit`, { ...grant, key: keys.of(grant) });
    notice("good", `${person.email} has ${dollars(done.balance_usd)} now.`);
    await changed();
  });
  return form;
}

function people() {
  const wanted = h("input", { type: "search", name: "q", maxlength: 200 });
  const button = h("button", { type: "submit" }, "Search");
  const shown = h("div", {});
  const search = async () => {
    const found = (await get(`/api/admin/users?q=${encodeURIComponent(wanted.value.trim())}`)).items;
    fill(shown, found.length === 0 ? empty("Nobody found", "Search for a part of the address or of the name.")
      : h("ul", { class: "plain" }, ...found.map((person) => h("li", { class: "card" },
        h("p", {}, h("b", {}, person.email), ` ${person.name} `, person.role === "admin" ? h("span", { class: "badge warm" }, "operator") : null,
          h("span", { class: "soft small" }, ` ${dollars(person.balance_usd)} of credit, ${dollars(person.held_usd)} of it set aside; here since ${moment(person.created_at)}`)),
        h("details", {}, h("summary", {}, `Grant credit to ${person.email}`), granting(person, search))))));
  };
  const form = h("form", { class: "row" }, field("A part of the address or the name", wanted), h("div", { class: "actions" }, button));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(button, () => attempt(search));
  });
  return section("People", form, shown);
}

function optOuts() {
  const input = h("input", { type: "tel", name: "phone", placeholder: "+1 202 555 0142" });
  const look = h("button", { type: "submit", class: "second" }, "Look it up");
  const stop = h("button", { type: "button", class: "danger" }, "Never ring it");
  const form = h("form", { class: "row", novalidate: true }, field("Phone number", input, "With its country code."), h("div", { class: "actions" }, look, stop));
  whenSent(form, look, async () => {
    const found = await post("/api/admin/opt-outs/lookup", { phone: input.value.trim() });
    notice(found.opted_out ? "warm" : "good", found.opted_out ? `${found.phone} wants no calls and is not rung.` : `${found.phone} may be rung.`);
  });
  stop.addEventListener("click", () => busy(stop, () => attemptIn(form, async () => {
    await post("/api/admin/opt-outs", { phone: input.value.trim() });
    notice("good", "Nobody rings this number from now on. Its owner lifts that by proving the number again.");
  })));
  return section("Numbers that want no calls", form);
}

/** For whoever followed a link, or guessed the address: what this is, and how one comes to see it. */
function notForYou(account) {
  return empty("This page is for whoever runs this server", "It shows the calls of everybody, what they cost and whether all is well. "
    + `Your account (${account.email}) is an ordinary one: your own calls and money are under Calls and Money.`,
  h("p", {}, h("a", { href: "/" }, "Place a call"), " · ", h("a", { href: "/calls" }, "Your calls"), " · ", h("a", { href: "/credits" }, "Your money")),
  h("details", {}, h("summary", {}, "I run this server"),
    h("p", { class: "soft" }, "Make your account an operator's where the server runs, then reload this page:"),
    h("pre", { tabindex: 0 }, h("code", {}, `callmeback admin ${account.email}`))));
}

/** What failed of a renewal is a `Problem`, or a fault of ours. */
function unreached(error) {
  if (!(error instanceof Problem)) throw error;
  return false;
}

page(async (root, account) => {
  if (account.role !== "admin") {
    fill(root, notForYou(account));
    return;
  }
  const audit = h("button", { type: "button", class: "second" }, "Audit the books now");
  const place = () => h("div", {});
  const [top, money, state, jobs, verdict, callers, done] = [place(), place(), place(), place(), place(), place(), place()];
  const show = async () => {
    const found = await get("/api/admin/overview");
    fill(top, calls(found));
    fill(state, nodes(found), engines(found));
    fill(jobs, work(found));
    fill(verdict, books(found), audited(found.audit));
    fill(done, log(found));
  };
  const showSpend = async () => fill(money, spending(await get("/api/admin/spend")));
  const showCallers = async () => fill(callers, strangers(await get("/api/admin/strangers"), showCallers));
  audit.addEventListener("click", () => busy(audit, () => attempt(async () => {
    await post("/api/admin/audit");
    await show();
  })));
  await Promise.all([show(), showSpend(), showCallers()]);
  fill(root, top, state, h("div", { class: "two" }, money, jobs),
    section("Books", verdict, h("div", { class: "actions" }, audit)), callers, people(), optOuts(), done);
  // Said once while it lasts, and not as an answer to what the operator did.
  const old = h("p", { class: "notice bad", hidden: true }, "The server cannot be asked just now: what stands here is from before. It is tried again by itself.");
  root.prepend(h("div", { role: "status" }, old));
  const failed = new Set();
  const again = (work, pause) => setTimeout(async () => {
    if (!document.hidden && !root.querySelector(".scroll:focus, [aria-busy]")) {
      if (await work().then(() => true, unreached)) failed.delete(work);
      else failed.add(work);
      old.hidden = failed.size === 0;
    }
    again(work, pause);
  }, pause);
  again(show, REFRESH_MS);
  again(showSpend, SPEND_MS);
  again(async () => { if (!callers.contains(document.activeElement)) await showCallers(); }, SPEND_MS);
});
