// When I am to be called: a calendar of the next runs, each schedule, and making one in plain words.

import { all, get, patch, post, Problem, remove } from "../api.js";
import { busy, confirmed, empty, field, fill, h, mark, notice, unmark } from "../dom.js";
import { openPoints } from "../open-points.js";
import { attempt, page, tell } from "../shell.js";

const DAYS = [["MO", "Mon"], ["TU", "Tue"], ["WE", "Wed"], ["TH", "Thu"], ["FR", "Fri"], ["SA", "Sat"], ["SU", "Sun"]];
const STATUS = { pending: "Waiting", claimed: "Dialling", dialed: "Done", missed: "Missed", failed: "Failed", canceled: "Cancelled", paused: "Paused" };
const TONE = { pending: "good", claimed: "good", missed: "warm", failed: "bad", paused: "warm" };
const WEEKS = 4;

const when = (iso, zone) => new Date(iso).toLocaleString(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: zone });
const dayOf = (moment, zone) => new Intl.DateTimeFormat("en-CA", { timeZone: zone }).format(moment);

/** Four weeks from today in my zone, with what rings when. */
function calendar(schedules, names, zone) {
  const runs = new Map();
  for (const schedule of schedules) {
    for (const run of schedule.next_runs) {
      const day = dayOf(new Date(run), zone);
      runs.set(day, [...(runs.get(day) ?? []), { run, schedule }]);
    }
  }
  const today = new Date();
  const weekday = (new Date(`${dayOf(today, zone)}T12:00:00Z`).getUTCDay() + 6) % 7;
  const first = new Date(Date.parse(`${dayOf(today, zone)}T12:00:00Z`) - weekday * 86_400_000);
  const cell = (offset) => {
    const date = new Date(first.getTime() + offset * 86_400_000);
    const key = date.toISOString().slice(0, 10);
    const found = (runs.get(key) ?? []).sort((one, other) => Date.parse(one.run) - Date.parse(other.run));
    return h("td", { class: key === dayOf(today, zone) ? "today" : null },
      h("span", { class: "day" }, String(date.getUTCDate())),
      ...found.map(({ run, schedule }) => h("span", { class: "run" },
        new Date(run).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", timeZone: zone }), " ", names.get(schedule.persona_id) ?? "")));
  };
  return h("div", { class: "card scroll", tabindex: 0, role: "region", "aria-label": "The next four weeks" }, h("table", { class: "calendar" },
    h("caption", { class: "soft small" }, `The next weeks in ${zone}`),
    h("thead", {}, h("tr", {}, ...DAYS.map(([, name]) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...Array.from({ length: WEEKS }, (_, week) => h("tr", {}, ...Array.from({ length: 7 }, (_day, day) => cell(7 * week + day)))))));
}

/** What the form says, as the API takes it. */
function timing(inputs, zone) {
  const at = `${inputs.date.value}T${inputs.time.value}`;
  if (inputs.repeat.value === "once") return { at, timezone: zone };
  const days = DAYS.filter(([code]) => inputs[`day-${code}`].checked).map(([code]) => code);
  const until = inputs.until.value ? `;UNTIL=${inputs.until.value.replaceAll("-", "")}` : ""; // all of that day, in the schedule's zone
  if (inputs.repeat.value === "daily") return { at, timezone: zone, rrule: `FREQ=DAILY${until}` };
  if (inputs.repeat.value === "monthly") return { at, timezone: zone, rrule: `FREQ=MONTHLY${until}` };
  return { at, timezone: zone, rrule: `FREQ=WEEKLY${days.length ? `;BYDAY=${days.join(",")}` : ""}${until}` };
}

function maker(personas, scenarios, zone, made) {
  const tomorrow = dayOf(new Date(Date.now() + 86_400_000), zone);
  const repeat = h("select", { name: "repeat" }, ...[["once", "Once"], ["weekly", "Every week on…"], ["daily", "Every day"], ["monthly", "Every month on that day"]].map(([value, words]) => h("option", { value }, words)));
  const days = h("fieldset", { class: "days", hidden: true }, h("legend", { class: "label" }, "On"), ...DAYS.map(([code, name]) =>
    h("span", { class: "check" }, h("input", { type: "checkbox", name: `day-${code}`, id: `day-${code}`, checked: !["SA", "SU"].includes(code) }), h("label", { for: `day-${code}` }, name))));
  const until = field("Until", h("input", { type: "date", name: "until" }), "Leave it empty to go on.");
  until.hidden = true;
  const points = openPoints();
  const preview = h("div", { class: "notice", role: "status", "aria-live": "polite" }, "…");
  const button = h("button", { type: "submit" }, "Schedule it");
  const form = h("form", { class: "card", novalidate: true },
    h("h2", {}, "Call me later"),
    h("div", { class: "row" },
      field("Who", h("select", { name: "persona" }, ...personas.map((each) => h("option", { value: each.id }, each.name)))),
      field("About", h("select", { name: "scenario" }, h("option", { value: "" }, "Nothing special"), ...scenarios.map((each) => h("option", { value: each.id }, each.title))))),
    points.element,
    h("div", { class: "row" },
      field("Day", h("input", { type: "date", name: "date", value: tomorrow, required: true })),
      field("Time", h("input", { type: "time", name: "time", value: "09:00", required: true }), `In ${zone}.`),
      field("How often", repeat)),
    days, until,
    field("What the persona should know", h("input", { name: "context", maxlength: 2000 })),
    preview, h("div", { class: "actions" }, button));
  let asked = 0;
  const look = async () => {
    const mine = ++asked;
    try {
      const found = await post("/api/scheduled-calls/preview", timing(form.elements, zone));
      if (mine === asked) fill(preview, h("b", {}, found.description), `. Next: ${found.next_runs.slice(0, 3).map((run) => when(run, zone)).join(" · ")}`);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (mine === asked) fill(preview, error.errors.map((each) => each.message).join("; ") || error.words);
    }
  };
  form.elements.scenario.addEventListener("change", () => points.show(scenarios.find((each) => each.id === form.elements.scenario.value)));
  form.addEventListener("change", () => {
    days.hidden = repeat.value !== "weekly";
    until.hidden = repeat.value === "once";
    look();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(button, async () => {
      unmark(form);
      const inputs = form.elements;
      try {
        await post("/api/scheduled-calls", { persona_id: inputs.persona.value, scenario_id: inputs.scenario.value || null, context: inputs.context.value.trim(), variables: points.said(), ...timing(inputs, zone) });
        notice("good", "It is scheduled.");
        await made();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        const named = error.errors.map((each) => ({ ...each, field: { at: "date", rrule: "repeat" }[each.field] ?? each.field }));
        if (!named.length || !mark(form, named)) tell(error);
      }
    });
  });
  look();
  return form;
}

function card(schedule, names, changed) {
  const path = `/api/scheduled-calls/${schedule.id}`;
  const does = (words, work) => {
    const button = h("button", { type: "button", class: "second" }, words);
    button.addEventListener("click", () => busy(button, () => attempt(async () => {
      await work();
      await changed();
    })));
    return button;
  };
  const open = ["pending", "claimed", "paused"].includes(schedule.status);
  const last = schedule.dials[0];
  return h("li", { class: "card" },
    h("h3", {}, `${names.get(schedule.persona_id) ?? schedule.persona_id}: ${schedule.description} `, h("span", { class: `badge ${TONE[schedule.status] ?? ""}` }, STATUS[schedule.status] ?? schedule.status)),
    schedule.context ? h("p", {}, schedule.context) : null,
    ...Object.entries(schedule.variables).map(([name, value]) => h("p", { class: "small" }, h("span", { class: "soft" }, `${name.replaceAll("_", " ")}: `), value)),
    schedule.due_at ? h("p", { class: "num" }, `Next: ${when(schedule.due_at, schedule.timezone)}${schedule.attempt ? ", another try" : ""}`) : null,
    last ? h("p", { class: "soft small" }, `Last: ${when(last.run_at, schedule.timezone)}, ${STATUS[last.status] ?? last.status}${last.detail ? `: ${last.detail}` : ""} `, last.call_id ? h("a", { href: `/calls/${last.call_id}` }, "the call") : null) : null,
    open ? h("div", { class: "actions" },
      schedule.rrule !== null && schedule.status === "pending" ? does("Skip the next one", () => post(`${path}/skip`)) : null,
      schedule.status === "paused" ? does("Go on", () => patch(path, { paused: false })) : does("Pause", () => patch(path, { paused: true })),
      does("Cancel", async () => {
        if (await confirmed("Cancel these calls?", "Nothing of it rings any more.", "Cancel them")) await remove(path);
      })) : null);
}

page(async (root, account) => {
  const [personas, scenarios] = await Promise.all([all("/api/personas"), all("/api/scenarios")]);
  const names = new Map(personas.map((each) => [each.id, each.name]));
  const zone = account.timezone;
  const shown = h("div", {});
  const load = async () => {
    const found = await all("/api/scheduled-calls");
    const coming = found.filter((each) => ["pending", "claimed", "paused"].includes(each.status));
    const past = found.filter((each) => !coming.includes(each));
    fill(shown,
      coming.length ? calendar(coming, names, zone) : empty("Nothing is scheduled", "A wake-up call, a check-in every Monday, an excuse at half past nine: fill in the form."),
      coming.length ? h("ul", { class: "plain", "aria-label": "Scheduled" }, ...coming.map((each) => card(each, names, load))) : null,
      past.length ? h("details", {}, h("summary", {}, h("h2", {}, "Earlier")), h("ul", { class: "plain" }, ...past.map((each) => card(each, names, load)))) : null);
  };
  const note = account.phone_verified ? null : h("p", { class: "notice warm" }, "A scheduled call needs a verified phone: ", h("a", { href: "/settings" }, "verify yours"), ".");
  fill(root, note, maker(personas, scenarios, zone, load), shown);
  await load();
});
