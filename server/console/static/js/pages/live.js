// A call while it happens. Everything shown comes from the server's events, so a reload shows the same.

import { get, post, Problem } from "../api.js";
import { busy, fill, h, notice } from "../dom.js";
import { listen } from "../events.js";
import { clock, dollars, ms, nanos, reason, status as inWords, tone } from "../format.js";
import { BrowserPhone, NoPhone } from "../phone.js";
import { attempt, ident, page, tell } from "../shell.js";
import { Transcript } from "../transcript.js";

const SERVICES = { carrier: "Telephone", stream: "Audio stream", amd: "Machine detection", stt: "Listening", llm: "Thinking", tts: "Speaking" };
const COSTS_EVERY_MS = 2000;

class Status {
  constructor(call, persona) {
    this.call = call;
    this.badge = h("span", { class: `badge ${tone(call.status)}` }, inWords(call.status));
    this.time = h("span", { class: "stat num", role: "timer", "aria-label": "Time on the phone" }, "0:00");
    this.link = h("span", { class: "soft small", role: "status" });
    this.hangUp = h("button", { type: "button", class: "danger" }, "Hang up");
    this.element = h("section", { class: "card", "aria-label": "State of the call" },
      h("div", { class: "row" },
        h("div", {}, h("h2", {}, persona.name), this.badge, " ", this.link),
        h("div", { class: "top-end" }, this.time, this.hangUp)));
    this.ticking = setInterval(() => this.tick(), 1000);
    this.tick();
  }

  tick() {
    if (this.call.answered_at === null) return;
    const until = this.call.ended_at === null ? Date.now() : Date.parse(this.call.ended_at);
    this.time.textContent = clock((until - Date.parse(this.call.answered_at)) / 1000);
  }

  update(call) {
    this.call = call;
    this.badge.textContent = inWords(call.status);
    this.badge.className = `badge ${tone(call.status)}`;
    this.tick();
  }

  over() {
    clearInterval(this.ticking);
    this.hangUp.hidden = true;
  }
}

/** Who is heard just now: to be seen, and not read out, since both are heard anyway. */
class Speakers {
  constructor(persona) {
    this.words = { agent: `${persona.name} is speaking`, caller: "You are speaking" };
    this.element = h("p", { class: "speaking", "aria-live": "off" });
    this.now = { agent: false, caller: false };
    this.show();
  }

  put({ role, speaking }) {
    this.now[role] = speaking;
    this.show();
  }

  quiet() {
    this.now = { agent: false, caller: false };
    this.show();
  }

  show() {
    const heard = Object.keys(this.now).filter((role) => this.now[role]);
    fill(this.element, heard.length === 0 ? h("span", { class: "soft" }, "Nobody is speaking")
      : heard.map((role) => h("span", { class: role }, h("i", { "aria-hidden": "true" }), this.words[role])));
  }
}

class Money {
  constructor(budget) {
    this.budget = budget;
    this.warned = false;
    this.total = h("p", { class: "stat num", "aria-live": "off" }, "$0.00");
    this.lines = h("tbody", {});
    this.bar = h("div", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": "Share of the budget per call that is used" }, h("span", {}), h("i", {}));
    this.left = h("p", { class: "soft small" });
    this.element = h("section", { class: "card", "aria-label": "What it costs" },
      h("h2", {}, "Cost so far"), this.total,
      budget.per_call_usd === null ? null : h("div", {}, this.bar, this.left),
      h("table", {}, h("caption", { class: "sr" }, "Cost by service"), this.lines));
    if (budget.per_call_usd !== null) this.bar.querySelector("i").style.setProperty("left", `${budget.warn_percent}%`);
    this.show("0");
  }

  show(total) {
    this.total.textContent = dollars(total);
    if (this.budget.per_call_usd === null) return;
    const used = Number((nanos(total) * 1000n) / nanos(this.budget.per_call_usd)) / 10;
    const kind = used >= 100 ? "bad" : this.warned || used >= this.budget.warn_percent ? "warm" : "";
    this.bar.className = `bar ${kind}`;
    this.bar.setAttribute("aria-valuenow", Math.min(100, used));
    this.bar.querySelector("span").style.setProperty("width", `${Math.min(100, used)}%`);
    this.left.textContent = `${used.toFixed(0)} % of ${dollars(this.budget.per_call_usd)}; the persona warns at ${this.budget.warn_percent} %.`;
  }

  /** The persona has said that it runs out, be it by the percentage or because little time is left. */
  warn() {
    this.warned = true;
    this.bar.classList.add("warm");
  }

  services(costs) {
    this.show(costs.total_usd);
    const sums = new Map();
    for (const line of costs.lines) sums.set(line.service, (sums.get(line.service) ?? 0n) + nanos(line.usd));
    fill(this.lines, ...[...sums].map(([service, sum]) =>
      h("tr", {}, h("th", { scope: "row" }, SERVICES[service] ?? service), h("td", { class: "num" }, dollars(sum)))));
  }
}

function latencies() {
  const list = h("ol", { class: "turns" });
  const element = h("section", { class: "card" }, h("h2", {}, "How fast it answers"),
    h("p", { class: "soft small" }, "From your last audible sound to the first of the answer."), list);
  element.hidden = true;
  return {
    element,
    add(index, stages) {
      element.hidden = false;
      list.append(h("li", {}, `Turn ${index}: `, h("b", { class: "num" }, ms(stages.audible_ms))));
    },
  };
}

function meter(label) {
  const level = h("span", {});
  const element = h("div", {}, h("p", { class: "small soft" }, label), h("div", { class: "bar" }, level));
  return { element, show: (loud) => level.style.setProperty("width", `${Math.min(100, Math.round(loud * 160))}%`) };
}

function phoneCard(call) {
  const state = h("p", { role: "status" }, "Your browser is the phone of this call.");
  const answer = h("button", { type: "button" }, "Pick up");
  const mute = h("button", { type: "button", class: "second", "aria-pressed": "false", hidden: true }, "Mute");
  const me = meter("You");
  const persona = meter("The persona");
  const meters = h("div", { hidden: true }, me.element, persona.element);
  const card = h("section", { class: "card", "aria-label": "Browser phone" }, h("h2", {}, "Browser phone"), state, meters, h("div", { class: "actions" }, answer, mute));
  const phone = new BrowserPhone(call.id, {
    level: (heard, spoken) => { me.show(heard); persona.show(spoken); },
    state: (word) => {
      card.dataset.phone = word;
      state.textContent = { connecting: "Connecting…", open: "You are on the phone. Speak as you would.", closed: "The phone is down." }[word];
      mute.hidden = meters.hidden = word !== "open";
      answer.hidden = word !== "closed";
    },
  });
  const connect = () => busy(answer, async () => {
    try {
      await phone.connect();
    } catch (error) {
      phone.release();
      if (error instanceof NoPhone) notice("bad", error.message);
      else if (error instanceof Problem) tell(error);
      else throw error;
    }
  });
  answer.addEventListener("click", connect);
  mute.addEventListener("click", () => {
    phone.mute(!phone.muted);
    mute.setAttribute("aria-pressed", String(phone.muted));
    mute.textContent = phone.muted ? "Unmute" : "Mute";
  });
  return { card, phone, connect };
}

page(async (root) => {
  let call = await get(`/api/calls/${ident()}`);
  if (call.ended_at !== null) {
    location.replace(`/calls/${call.id}`);
    return;
  }
  const [persona, budget] = await Promise.all([get(`/api/personas/${call.persona_id}`), get("/api/budget")]);
  document.querySelector("h1").textContent = `${persona.name} on the phone`;
  const state = new Status(call, persona);
  const money = new Money(budget);
  const speed = latencies();
  const transcript = new Transcript(persona.name);
  const speakers = new Speakers(persona);
  const phone = call.channel === "browser" ? phoneCard(call) : null;
  fill(root, state.element, h("div", { class: "two" },
    h("section", { class: "card", "aria-label": "What is said" }, h("h2", {}, "What is said"), speakers.element, transcript.element),
    h("div", {}, phone?.card, money.element, speed.element)));

  state.hangUp.addEventListener("click", () => busy(state.hangUp, () => attempt(async () => {
    await post(`/api/calls/${call.id}/hangup`);
    phone?.phone.hangUp();
  })));
  if (phone !== null && call.answered_at === null) phone.connect();

  const refresh = async () => {
    call = await get(`/api/calls/${call.id}`);
    state.update(call);
  };
  const costs = setInterval(() => get(`/api/calls/${call.id}/costs`).then((found) => money.services(found), () => {}), COSTS_EVERY_MS);
  const on = {
    status: () => attempt(refresh, { beside: true }),
    turn: (data) => {
      if (data.speaking !== undefined) speakers.put(data);
      transcript.put(data);
      if (data.latency) speed.add(data.index, data.latency);
    },
    cost: (data) => money.show(data.total_usd),
    warning: (data) => {
      money.warn();
      notice("warm", `${persona.name} has warned: about ${clock(data.seconds_left)} left.`);
    },
    ended: (data) => {
      phone?.phone.release();
      state.over();
      speakers.quiet();
      notice("good", `The call is over: ${reason(data.end_reason) || inWords(data.status)}. It cost ${dollars(data.total_usd)}. `,
        h("a", { href: `/calls/${call.id}` }, "Look at it"));
    },
  };
  await listen(call.id, (kind, data) => on[kind]?.(data), {
    link: (word) => { state.link.textContent = word === "lost" ? "Connection lost; trying again…" : ""; },
  });
  clearInterval(costs);
  await refresh();
  money.services(await get(`/api/calls/${call.id}/costs`));
});
