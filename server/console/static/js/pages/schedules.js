// When I am to be called: making a schedule in plain words, a calendar of the runs to come, and each schedule.

import { all, get, patch, post, remove } from "../api.js";
import { busy, confirmed, empty, fill, h, notice } from "../dom.js";
import { dayIn, when } from "../format.js";
import { spoken } from "../open-points.js";
import { scheduleForm } from "../schedule-form.js";
import { now } from "../server-time.js";
import { attempt, page } from "../shell.js";
import { partByPart } from "../table.js";

const STATUS = { pending: "Waiting", claimed: "Dialling", dialed: "Done", missed: "Missed", failed: "Failed", canceled: "Cancelled", paused: "Paused" };
const TONE = { pending: "good", claimed: "good", missed: "warm", failed: "bad", paused: "warm" };
const OPEN = ["pending", "claimed", "paused"];
const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const WEEKS = 4;
const DAY_MS = 86_400_000;
const MOST_IN_A_DAY = 4;

/** The days of four weeks from this week's Monday on, in my zone, as dates at noon of UTC. */
function daysShown(zone) {
  const noon = Date.parse(`${dayIn(zone, new Date(now()))}T12:00:00Z`);
  const first = noon - ((new Date(noon).getUTCDay() + 6) % 7) * DAY_MS;
  return Array.from({ length: 7 * WEEKS }, (_, offset) => new Date(first + offset * DAY_MS));
}

/** "30", and with its month where that begins, or the calendar does. */
const numbered = (day, first) => (day === first || day.getUTCDate() === 1
  ? day.toLocaleDateString(undefined, { day: "numeric", month: "short", timeZone: "UTC" }) : String(day.getUTCDate()));

const key = (day) => day.toISOString().slice(0, 10);

/** Those days with what rings when. */
function calendar(days, schedules, names, zone) {
  const runs = new Map();
  for (const schedule of schedules) {
    for (const run of schedule.next_runs) {
      const day = dayIn(zone, new Date(run));
      runs.set(day, [...(runs.get(day) ?? []), { run, schedule }]);
    }
  }
  const today = dayIn(zone, new Date(now()));
  const cell = (day) => {
    const found = (runs.get(key(day)) ?? []).sort((one, other) => Date.parse(one.run) - Date.parse(other.run));
    const more = found.length - MOST_IN_A_DAY;
    return h("td", { class: key(day) === today ? "today" : key(day) < today ? "past" : null },
      h("span", { class: "day" }, numbered(day, days[0])),
      ...found.slice(0, MOST_IN_A_DAY).map(({ run, schedule }) => h("span", { class: "run" },
        new Date(run).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", timeZone: zone }), " ", names.get(schedule.persona_id) ?? "")),
      more > 0 ? h("span", { class: "soft small" }, `and ${more} more`) : null);
  };
  return h("div", { class: "card scroll", tabindex: 0, role: "region", "aria-label": "The next four weeks" }, h("table", { class: "calendar" },
    h("caption", { class: "soft small" }, `The next four weeks in ${zone}`),
    h("thead", {}, h("tr", {}, ...WEEKDAYS.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...Array.from({ length: WEEKS }, (_, week) => h("tr", {}, ...days.slice(7 * week, 7 * week + 7).map(cell))))));
}

function actions(schedule, edit, changed) {
  const path = `/api/scheduled-calls/${schedule.id}`;
  const does = (words, work) => {
    const button = h("button", { type: "button", class: "second" }, words);
    button.addEventListener("click", () => busy(button, () => attempt(async () => {
      await work();
      await changed();
    })));
    return button;
  };
  return h("div", { class: "actions" },
    h("button", { type: "button", class: "second", onclick: edit }, "Change"),
    schedule.rrule !== null && schedule.status === "pending" ? does("Skip the next one", () => post(`${path}/skip`)) : null,
    schedule.status === "paused" ? does("Go on", () => patch(path, { paused: false })) : does("Pause", () => patch(path, { paused: true })),
    does("Cancel", async () => {
      if (await confirmed("Cancel these calls?", "Nothing of it rings any more.", "Cancel them")) await remove(path);
    }));
}

function card(schedule, known, changed) {
  const place = h("li", { class: "card" });
  const who = known.names.get(schedule.persona_id) ?? schedule.persona_id;
  const last = schedule.dials[0];
  const show = () => fill(place,
    h("h3", {}, `${who}: ${schedule.description} `, h("span", { class: `badge ${TONE[schedule.status] ?? ""}` }, STATUS[schedule.status] ?? schedule.status)),
    schedule.scenario_id ? h("p", { class: "small" }, h("span", { class: "soft" }, "About: "), known.scenarios.find((each) => each.id === schedule.scenario_id)?.title ?? h("b", {}, "a scenario that is deleted; change this to another one")) : null,
    schedule.context ? h("p", {}, schedule.context) : null,
    ...Object.entries(schedule.variables).map(([name, value]) => h("p", { class: "small" }, h("span", { class: "soft" }, `${spoken(name)}: `), value)),
    schedule.due_at ? h("p", { class: "num" }, `Next: ${when(schedule.due_at, schedule.timezone)}${schedule.attempt ? ", another try" : ""}`) : null,
    last ? h("p", { class: "soft small" }, `Last: ${when(last.run_at, schedule.timezone)}, ${STATUS[last.status] ?? last.status}${last.detail ? `: ${last.detail}` : ""} `, last.call_id ? h("a", { href: `/calls/${last.call_id}` }, "the call") : null) : null,
    OPEN.includes(schedule.status) ? actions(schedule, edit, changed) : null);
  const edit = () => {
    const form = scheduleForm(known, { schedule, leave: show, done: async () => {
      notice("good", "The change is saved.");
      await changed();
    } });
    fill(place, h("h3", {}, `Change: ${who}, ${schedule.description}`), form);
    form.elements.persona.focus();
  };
  show();
  return place;
}

page(async (root, account) => {
  const [personas, scenarios] = await Promise.all([all("/api/personas"), all("/api/scenarios")]);
  const known = { personas, scenarios, names: new Map(personas.map((each) => [each.id, each.name])), zone: account.timezone };
  const shown = h("div", {});
  const load = async () => {
    const days = daysShown(known.zone);
    const coming = await all(`/api/scheduled-calls?open=true&runs_until=${key(days.at(-1))}`);
    const past = h("ul", { class: "plain", "aria-label": "Earlier" });
    const { number, more } = await partByPart("Show more",
      (cursor) => get(`/api/scheduled-calls?open=false&limit=20${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`),
      (items) => past.append(...items.map((each) => card(each, known, load))));
    fill(shown,
      coming.length ? calendar(days, coming, known.names, known.zone) : empty("Nothing is scheduled", "A wake-up call, a check-in every Monday, an excuse at half past nine: fill in the form."),
      coming.length ? h("ul", { class: "plain", "aria-label": "Scheduled" }, ...coming.map((each) => card(each, known, load))) : null,
      number ? h("details", {}, h("summary", {}, h("h2", {}, "Earlier")), past, more) : null);
  };
  const note = account.phone_verified ? null : h("p", { class: "notice warm" }, "A scheduled call needs a verified phone: ", h("a", { href: "/settings" }, "verify yours"), ".");
  const form = scheduleForm(known, { done: async () => {
    notice("good", "It is scheduled.");
    await load();
  } });
  fill(root, note, h("section", { class: "card", "aria-label": "Call me later" }, h("h2", {}, "Call me later"), form), shown);
  await load();
});
