// A call while it happens. Everything shown comes from the server's events, so a reload shows the same.

import { get, post } from "../api.js";
import { CostCard } from "../cost-card.js";
import { busy, fill, h, notice } from "../dom.js";
import { listen } from "../events.js";
import { clock, dollars, ms, reason, status as inWords, tone } from "../format.js";
import { askBeforeLeaving } from "../leaving.js";
import { PhoneCard } from "../phone-card.js";
import { now } from "../server-time.js";
import { attempt, ident, page } from "../shell.js";
import { Transcript } from "../transcript.js";
import { endTone } from "../wording.js";

const LIMIT_EVERY_MS = 10_000; // what other calls take and what is paid in moves it

class Status {
  constructor(call, persona, buttons) {
    this.call = call;
    this.badge = h("span", { class: `badge ${tone(call.status)}` }, inWords(call.status));
    this.time = h("span", { class: "stat num", role: "timer", "aria-label": "Time on the phone" }, "0:00");
    this.link = h("span", { class: "soft small", role: "status" });
    this.hangUp = h("button", { type: "button", class: "danger" }, "Hang up");
    this.element = h("section", { class: "card call-bar", "aria-label": "State of the call" },
      h("div", { class: "row" },
        h("div", {}, h("h2", {}, persona.name), this.badge, " ", this.link),
        h("div", { class: "top-end" }, this.time, this.hangUp, ...buttons)));
    this.ticking = setInterval(() => this.tick(), 1000);
    this.tick();
  }

  tick() {
    const { answered_at: answered, duration_seconds: billed } = this.call;
    // Once it is over the bill's seconds count: of a server that died the end is noted only when another one is up.
    if (billed !== null) this.time.textContent = clock(billed);
    else if (answered !== null) this.time.textContent = clock((now() - Date.parse(answered)) / 1000);
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

function latencies() {
  const list = h("ol", { class: "turns" });
  const element = h("section", { class: "card" }, h("h2", {}, "How fast it answers"),
    h("p", { class: "soft small" }, "From your last audible sound to the first of the answer."), list);
  element.hidden = true;
  const known = new Map();
  return {
    element,
    put(index, stages) {
      element.hidden = false;
      known.set(index, h("li", {}, `Turn ${index}: `, h("b", { class: "num" }, ms(stages.audible_ms))));
      fill(list, ...[...known].sort(([one], [other]) => one - other).map(([, line]) => line));
    },
  };
}

/** Told once, and then what is left of the time, as it goes by: it may have been said a while ago. */
class Warning {
  constructor(name) {
    this.name = name;
    this.left = h("span", { class: "num", role: "timer" });
  }

  told({ seconds_left: seconds, at }) {
    this.over();
    this.until = Date.parse(at) + seconds * 1000;
    if (this.until <= now()) return;
    this.shown = notice("warm", `${this.name} has warned: about `, this.left, " left.");
    this.ticking = setInterval(() => this.tick(), 1000);
    this.tick();
  }

  tick() {
    const left = this.until - now();
    if (left > 0) this.left.textContent = clock(left / 1000);
    else this.over();
  }

  over() {
    clearInterval(this.ticking);
    this.shown?.remove();
  }
}

page(async (root) => {
  let call = await get(`/api/calls/${ident()}`);
  if (call.ended_at !== null) {
    location.replace(`/calls/${call.id}`);
    return;
  }
  const costsOf = () => get(`/api/calls/${call.id}/costs`);
  const [persona, paid, told] = await Promise.all([
    get(`/api/personas/${call.persona_id}`), costsOf(), get(`/api/calls/${call.id}/transcript`),
  ]);
  document.querySelector("h1").textContent = `${persona.name} on the phone`;
  const phone = call.channel === "browser" ? new PhoneCard(call.id, persona.name) : null;
  const state = new Status(call, persona, phone?.buttons ?? []);
  const money = new CostCard(persona.name);
  const speed = latencies();
  const transcript = new Transcript(persona.name);
  const speakers = new Speakers(persona);
  const warning = new Warning(persona.name);
  const turn = (data) => {
    if (data.speaking !== undefined) speakers.put(data);
    transcript.put(data);
    if (data.latency) speed.put(data.index, data.latency);
  };
  money.settle(paid);
  money.bind(paid.limit);
  told.items.forEach(turn); // of a long call the events no longer have all of it
  fill(root, state.element, h("div", { class: "two" },
    h("section", { class: "card", "aria-label": "What is said" }, h("h2", {}, "What is said"), speakers.element, transcript.element),
    h("div", {}, phone?.element, money.element, speed.element)));

  state.hangUp.addEventListener("click", () => busy(state.hangUp, () => attempt(async () => {
    try {
      await post(`/api/calls/${call.id}/hangup`);
    } finally {
      phone?.phone.hangUp(); // one's own telephone can always be put down
    }
  })));
  if (phone !== null) {
    askBeforeLeaving(() => phone.open);
    if (call.answered_at === null) phone.connect();
    else phone.show("closed");
  }

  const refresh = async () => {
    call = await get(`/api/calls/${call.id}`);
    state.update(call);
  };
  const bind = () => costsOf().then(({ limit }) => money.bind(limit), () => {}); // it may be away just now
  const binding = setInterval(bind, LIMIT_EVERY_MS);
  const on = {
    status: () => attempt(refresh, { beside: true }),
    turn,
    cost: (data) => money.tick(data),
    warning: (data) => {
      money.warn();
      bind();
      warning.told(data);
    },
    ended: (data) => {
      phone?.end();
      state.over();
      warning.over();
      speakers.quiet();
      transcript.quiet();
      notice(endTone(data), `The call is over: ${reason(data.end_reason) || inWords(data.status)}. It cost ${dollars(data.total_usd)}. `,
        h("a", { href: `/calls/${call.id}` }, "Look at it"));
    },
  };
  // While nobody listened more may have been said than the events still have.
  const missed = async () => (await get(`/api/calls/${call.id}/transcript`)).items.forEach(turn);
  let lost = false;
  const link = (word) => {
    if (lost && word === "open") attempt(missed, { beside: true });
    lost = word === "lost";
    state.link.textContent = lost ? "Connection lost; trying again…" : "";
  };
  try {
    await listen(call.id, (kind, data) => on[kind]?.(data), { link });
  } finally {
    clearInterval(binding);
  }
  await attempt(async () => {
    await refresh();
    money.settle(await costsOf());
  }, { beside: true });
});
