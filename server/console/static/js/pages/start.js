// From nothing to a ringing phone: who calls, about what, for how much.

import { allPersonas } from "../all-personas.js";
import { all, get, OrderKeys, post, Problem, Unreachable } from "../api.js";
import { busy, field, fill, h, mark, notice, unmark } from "../dom.js";
import { dollars } from "../format.js";
import { landing } from "../landing.js";
import { openPoints, readable } from "../open-points.js";
import { microphoneReady } from "../phone.js";
import { codeForm } from "../phone-proof.js";
import { portrait } from "../portrait.js";
import { sampleButton } from "../sample.js";
import { know, token } from "../session.js";
import { attempt, page } from "../shell.js";

function personaChoices(personas) {
  return h("fieldset", { class: "card" },
    h("legend", {}, h("h2", {}, "Who should call you?")),
    h("div", { class: "choices" }, ...personas.map((persona, index) =>
      h("div", { class: "choice" },
        h("input", { type: "radio", name: "persona", value: persona.id, id: `persona-${persona.id}`, checked: index === 0 }),
        portrait(persona),
        h("div", {},
          h("label", { for: `persona-${persona.id}` }, persona.name),
          h("p", { class: "soft small" }, persona.tagline),
          sampleButton(persona)),
      ))),
  );
}

function scenarioChoice(scenarios) {
  const select = h("select", { name: "scenario" },
    h("option", { value: "" }, "No scenario"),
    ...scenarios.map((scenario) => h("option", { value: scenario.id }, scenario.title)));
  const context = h("textarea", { name: "context", maxlength: 2000, rows: 3 });
  const shown = h("p", { class: "hint" });
  const points = openPoints();
  const chosen = () => scenarios.find((each) => each.id === select.value);
  const tell = () => fill(shown, ...(chosen() ? readable(chosen().prompt, points.said()) : ["No plan: say hello and see where it goes."]));
  const show = () => {
    points.show(chosen());
    tell();
  };
  select.value = new URLSearchParams(location.search).get("scenario") ?? "";
  if (select.selectedIndex < 0) select.selectedIndex = 0;
  select.addEventListener("change", show);
  points.element.addEventListener("input", tell);
  show();
  const element = h("fieldset", { class: "card" },
    h("legend", {}, h("h2", {}, "What is it about?")),
    field("Scenario", select),
    shown,
    h("p", { class: "small" }, h("a", { href: "/scenarios" }, "Write your own scenario, or change one")),
    points.element,
    field("Anything the persona should know this time", context, "For example: ring at a quarter past, I will be at the café."),
  );
  return { element, chosen, said: points.said };
}

/** What a call comes to; null for a number that has no price, which leaves the browser's to be seen. */
async function estimateOf(wanted, channel) {
  try {
    return await get(`/api/estimate?${new URLSearchParams({ ...wanted, channel })}`);
  } catch (error) {
    if (error instanceof Problem && error.code === "not_allowed_number") return null;
    throw error;
  }
}

/** Whose limit it is that a call cannot be longer. */
function bound({ longest_minutes: most, limited_by: by }, persona, scenario) {
  const whose = { persona: `${persona.name} talks`, scenario: `“${scenario?.title}” lasts`, server: "A call here lasts" }[by];
  return `${whose} ${most} ${most === 1 ? "minute" : "minutes"} at most.`;
}

const FIRST_MINUTES = 5;
const REST_MS = 200;
const LONGEST = 240; // more than any limit: asked for, it is lowered to the one that holds

/** `chosen()`: {persona, scenario}, the latter null for none; `again` of the answer is to be called when they are others. */
function minutesChoice(chosen) {
  const minutes = h("input", { type: "range", name: "minutes", min: 1, max: FIRST_MINUTES, value: FIRST_MINUTES });
  const hint = h("p", { class: "hint" });
  const label = h("output", {});
  const prices = { phone: h("p", { class: "stat" }, "…"), browser: h("p", { class: "stat" }, "…") };
  const detail = h("p", { class: "soft small" }, "Both of you talking half of the time. You pay for what is used; the telephone line by the started minute, all else by the second.");
  let asked = 0;
  let waiting;
  let limit = null; // of whom it was asked, and the answer
  const estimate = async (mine) => {
    const { persona, scenario } = chosen();
    const of = { persona_id: persona.id, ...(scenario ? { scenario_id: scenario.id } : {}) };
    const whose = JSON.stringify(of);
    const [most, ...found] = await Promise.all([
      limit?.whose === whose ? limit.most : estimateOf({ minutes: LONGEST, ...of }, "browser"),
      ...Object.keys(prices).map((channel) => estimateOf({ minutes: minutes.value, ...of }, channel)),
    ]).catch((error) => {
      if (mine !== asked) return [];
      throw error;
    });
    if (mine !== asked) return;
    limit = { whose, most };
    minutes.max = most.longest_minutes; // lowers the value too
    label.textContent = ` ${minutes.value} min`;
    hint.textContent = bound(most, persona, scenario);
    Object.values(prices).forEach((price, index) => {
      price.textContent = found[index] === null ? "not rung from here" : `about ${dollars(found[index].total_usd)}`;
    });
  };
  /** What is shown is of another call until the answer comes. Pulled along, the slider asks once, where it comes to rest. */
  const again = (pause = 0) => {
    label.textContent = ` ${minutes.value} min`;
    Object.values(prices).forEach((price) => { price.textContent = "…"; });
    const mine = ++asked;
    clearTimeout(waiting);
    waiting = setTimeout(() => attempt(() => estimate(mine), { beside: true }), pause);
  };
  minutes.addEventListener("input", () => again(REST_MS));
  again();
  const labelled = field("At most", minutes);
  labelled.querySelector("label").append(label);
  labelled.append(hint);
  const element = h("fieldset", { class: "card" }, h("legend", {}, h("h2", {}, "How long?")), labelled,
    h("div", { class: "grid", "aria-live": "polite" },
      h("div", {}, h("p", { class: "soft small" }, "On your phone"), prices.phone),
      h("div", {}, h("p", { class: "soft small" }, "In the browser"), prices.browser)),
    detail);
  return { element, again };
}

async function place(form, channel, said, keys) {
  unmark(form);
  const inputs = form.elements;
  const order = {
    persona_id: inputs.persona.value,
    context: inputs.context.value.trim(),
    max_minutes: Number(inputs.minutes.value),
    channel,
  };
  if (inputs.scenario.value) order.scenario_id = inputs.scenario.value;
  order.variables = said();
  const headers = { "idempotency-key": keys.of(order) };
  if (channel === "browser") await microphoneReady();
  try {
    const call = await post("/api/calls", order, { headers });
    location.assign(`/live/${call.id}`); // until it is there, pressing again orders the same call
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // An order whose answer was lost may be placed: tried again it is the same one, and is not placed twice.
    if (!(error instanceof Unreachable)) keys.anew();
    if (error.code === "insufficient_credit") {
      notice("bad", error.message, " ", h("a", { href: "/credits" }, "Add credit."));
    } else if (!error.errors.length || !mark(form, error.errors)) throw error;
  }
}

function actions(form, account, said, keys) {
  const ring = h("button", { type: "button", "data-calls": true }, "Call me");
  const here = h("button", { type: "button", class: "second", "data-calls": true }, "Call me in the browser");
  ring.disabled = !account.phone_verified;
  ring.addEventListener("click", () => busy(ring, () => attempt(() => place(form, "phone", said, keys))));
  here.addEventListener("click", () => busy(here, () => attempt(() => place(form, "browser", said, keys))));
  return h("div", { class: "card" }, h("div", { class: "actions" }, ring, here), h("p", { class: "soft small" }, ...where(account)));
}

function where(account) {
  if (!account.phone_verified) return ["Prove your phone above to be rung, or talk here with your microphone."];
  if (account.opted_out) return [`Your phone ${account.phone} wants no calls and is not rung: `, h("a", { href: "/settings" }, "verify it again"), ", or talk here with your microphone."];
  return [`Your phone ${account.phone} will ring.`];
}

function proof(account, done) {
  return h("section", { class: "card" },
    h("h2", {}, "Your phone"),
    h("p", { class: "soft" }, "Only a number that you have proved to be yours is ever rung. You can talk in the browser without one."),
    codeForm(account, done));
}

async function start(root, account) {
  const [personas, scenarios, credits] = await Promise.all([
    allPersonas(), all("/api/scenarios"), get("/api/credits"),
  ]);
  document.querySelector("h1").textContent = `Hello ${account.name}. Who should call you back?`;
  const form = h("form", { novalidate: true });
  const keys = new OrderKeys();
  // Going back brings the page as it was left; what it ordered then is done.
  addEventListener("pageshow", (event) => { if (event.persisted) keys.anew(); });
  // Enter in a field leads to the button and does not ring: a call costs money.
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.target === form) form.querySelector("[data-calls]:enabled").focus();
  });
  const about = scenarioChoice(scenarios);
  const who = personaChoices(personas);
  const long = minutesChoice(() => ({
    persona: personas.find((each) => each.id === who.querySelector(":checked").value),
    scenario: about.chosen() ?? null,
  }));
  who.addEventListener("change", () => long.again());
  about.element.querySelector("select").addEventListener("change", () => long.again());
  const proving = h("div", {});
  const ordering = h("div", {});
  const show = (now) => {
    fill(proving, now.phone_verified ? null : proof(now, (changed) => {
      know(changed);
      notice("good", "Your phone is verified.");
      show(changed);
      long.again(); // the line to that number has a price of its own
    }));
    fill(ordering, actions(form, now, about.said, keys));
  };
  show(account);
  fill(form,
    credits.available_usd === "0.00" ? h("p", { class: "notice warm" }, "You have no credit yet, so no call can start. ", h("a", { href: "/credits" }, "Add some"), " or ask the operator for a grant.") : null,
    proving, who, about.element, long.element, ordering);
  fill(root, form);
}

if (token() === null) page(landing, { open: true });
else page(start);
