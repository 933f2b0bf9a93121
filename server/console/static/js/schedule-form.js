// A scheduled call as a form, with what it comes to in plain words: for a new one, and for changing one.

import { OrderKeys, patch, post, Problem } from "./api.js";
import { field, fill, h, sentence } from "./dom.js";
import { whenSent } from "./form.js";
import { dayIn, when } from "./format.js";
import { openPoints } from "./open-points.js";
import { now } from "./server-time.js";

const DAYS = [["MO", "Mon"], ["TU", "Tue"], ["WE", "Wed"], ["TH", "Thu"], ["FR", "Fri"], ["SA", "Sat"], ["SU", "Sun"]];
const WORKDAYS = ["MO", "TU", "WE", "TH", "FR"];
const OFTEN = [["once", "Once"], ["weekly", "Every week on…"], ["daily", "Every day"], ["monthly", "Every month on that day"]];
const FREQUENCIES = { WEEKLY: "weekly", DAILY: "daily", MONTHLY: "monthly" };

const tomorrow = (zone) => dayIn(zone, new Date(now() + 86_400_000));

/** A rule as the fields say it; null for one that they cannot say, which is kept as it is. */
function fieldsOf(rrule, at) {
  const parts = Object.fromEntries(rrule.replace(/^RRULE:/i, "").toUpperCase().split(";").filter(Boolean).map((part) => part.split("=")));
  const { FREQ, BYDAY, BYHOUR, BYMINUTE, UNTIL, INTERVAL = "1", ...others } = parts;
  const repeat = FREQUENCIES[FREQ];
  const days = BYDAY?.split(",") ?? [];
  const plain = repeat && INTERVAL === "1" && Object.keys(others).filter((name) => name !== "WKST").length === 0
    && days.every((day) => DAYS.some(([code]) => code === day)) && (repeat === "weekly" || days.length === 0)
    && [BYHOUR, BYMINUTE].every((number) => number === undefined || /^\d+$/.test(number)) && (UNTIL === undefined || /^\d{8}$/.test(UNTIL));
  if (!plain) return null;
  const [hour, minute] = at.slice(11, 16).split(":");
  const until = UNTIL ? `${UNTIL.slice(0, 4)}-${UNTIL.slice(4, 6)}-${UNTIL.slice(6)}` : "";
  const weekday = DAYS[(new Date(`${at.slice(0, 10)}T12:00Z`).getUTCDay() + 6) % 7][0];
  return { repeat, days: days.length ? days : [weekday], until, time: [BYHOUR ?? hour, BYMINUTE ?? minute].map((each) => each.padStart(2, "0")).join(":") };
}

/** What the form begins with: a schedule as it is, or tomorrow morning. */
function beginning(schedule, zone) {
  const fresh = { date: tomorrow(zone), time: "09:00", repeat: "once", days: WORKDAYS, until: "" };
  if (!schedule) return fresh;
  const date = schedule.at.slice(0, 10);
  if (schedule.rrule === null) return { ...fresh, date, time: schedule.at.slice(11, 16) };
  return { ...fresh, date, time: schedule.at.slice(11, 16), repeat: "kept", ...fieldsOf(schedule.rrule, schedule.at) };
}

/** What the fields say of the time, as the API takes it. */
function timing(inputs, zone, schedule) {
  const at = `${inputs.date.value}T${inputs.time.value}`;
  const repeat = inputs.repeat.value;
  if (repeat === "once") return { at, timezone: zone, rrule: null };
  if (repeat === "kept") return { at: schedule.at, timezone: zone, rrule: schedule.rrule };
  const days = DAYS.filter(([code]) => inputs[`day-${code}`].checked).map(([code]) => code);
  const until = inputs.until.value ? `;UNTIL=${inputs.until.value.replaceAll("-", "")}` : ""; // all of that day, in the zone
  const weekly = repeat === "weekly" && days.length ? `;BYDAY=${days.join(",")}` : "";
  return { at, timezone: zone, rrule: `FREQ=${repeat.toUpperCase()}${weekly}${until}` };
}

function dayBoxes(begun, prefix) {
  return h("fieldset", { class: "days" }, h("legend", { class: "label" }, "On"), ...DAYS.map(([code, name]) =>
    h("span", { class: "check" }, h("input", { type: "checkbox", name: `day-${code}`, id: `${prefix}-${code}`, checked: begun.days.includes(code) }), h("label", { for: `${prefix}-${code}` }, name))));
}

const choice = (name, options, chosen) => h("select", { name }, ...options.map(([value, words]) => h("option", { value, selected: value === chosen }, words)));

/**
 * The form. `known`: personas, scenarios, the account's zone. With `schedule` it changes that one, in that one's zone, and
 * sends of the time only what is another; `leave` then takes it away. `done` is told when it is saved.
 */
export function scheduleForm({ personas, scenarios, zone: mine }, { schedule = null, done, leave = null }) {
  const zone = schedule?.timezone ?? mine;
  const begun = beginning(schedule, zone);
  const repeat = choice("repeat", begun.repeat === "kept" ? [["kept", "By the rule it has"], ...OFTEN] : OFTEN, begun.repeat);
  const days = dayBoxes(begun, schedule?.id ?? "new");
  const moment = h("div", { class: "row" },
    field("Day", h("input", { type: "date", name: "date", value: begun.date, required: true })),
    field("Time", h("input", { type: "time", name: "time", value: begun.time, required: true }), `In ${zone}.`));
  const until = field("Until", h("input", { type: "date", name: "until", value: begun.until }), "The last day; leave it empty to go on.");
  const points = openPoints();
  const preview = h("div", { class: "notice", role: "status", "aria-live": "polite" }, "…");
  const consent = h("p", { class: "soft small" });
  const button = h("button", { type: "submit" }, schedule ? "Save the change" : "Schedule it");
  const scenario = choice("scenario", [["", "Nothing special"], ...scenarios.map((each) => [each.id, each.title])], schedule?.scenario_id ?? "");
  const form = h("form", { novalidate: true },
    h("div", { class: "row" },
      field("Who", choice("persona", personas.map((each) => [each.id, each.name]), schedule?.persona_id)),
      field("About", scenario)),
    points.element,
    field("How often", repeat), moment, days, until,
    field("What the persona should know", h("input", { name: "context", maxlength: 2000, value: schedule?.context ?? "" })),
    preview, schedule ? null : consent, h("div", { class: "actions" }, button, leave ? h("button", { type: "button", class: "second", onclick: leave }, "Leave it as it is") : null));
  const chosen = () => scenarios.find((each) => each.id === scenario.value);
  points.show(chosen(), schedule?.variables);
  const arrange = () => {
    moment.hidden = repeat.value === "kept";
    days.hidden = repeat.value !== "weekly";
    until.hidden = ["once", "kept"].includes(repeat.value);
  };
  let asked = 0;
  const look = async () => {
    const number = ++asked;
    try {
      const found = await post("/api/scheduled-calls/preview", { ...timing(form.elements, zone, schedule), skip: schedule?.skip ?? [] });
      if (number !== asked) return;
      fill(preview, h("b", {}, sentence(found.description)), ` Next: ${found.next_runs.slice(0, 3).map((run) => when(run, zone)).join(" · ")}`);
      consent.textContent = found.consent;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (number === asked) fill(preview, named(error.errors).map((each) => each.where + sentence(each.message)).join(" ") || error.words);
    }
  };
  const keys = new OrderKeys();
  const asWas = JSON.stringify(timing(form.elements, zone, schedule));
  const said = () => {
    const inputs = form.elements;
    const time = timing(inputs, zone, schedule);
    const moved = schedule === null || JSON.stringify(time) !== asWas;
    return { persona_id: inputs.persona.value, scenario_id: inputs.scenario.value || null, context: inputs.context.value.trim(), variables: points.said(), ...(moved ? time : {}) };
  };
  scenario.addEventListener("change", () => points.show(chosen()));
  form.addEventListener("change", () => {
    arrange();
    look();
  });
  whenSent(form, button, async () => {
    const wanted = said();
    if (schedule) await done(await patch(`/api/scheduled-calls/${schedule.id}`, wanted));
    else await done(await post("/api/scheduled-calls", wanted, { headers: { "idempotency-key": keys.of(wanted) } }));
    keys.anew();
  }, (problem) => named(problem.errors));
  arrange();
  look();
  return form;
}

/** Faults by the fields of the form. */
const named = (errors) => errors.map((each) => {
  const inForm = { at: "date", rrule: "repeat" }[each.field] ?? each.field;
  return { ...each, field: inForm, where: { date: "Day and time: ", repeat: "How often: " }[inForm] ?? "" };
});
