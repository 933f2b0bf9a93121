// What calls can be about: my scenarios, written, tried out in words, changed, deleted.

import { all, patch, post, remove } from "../api.js";
import { busy, confirmed, empty, field, fill, h, notice } from "../dom.js";
import { whenSent } from "../form.js";
import { moment } from "../format.js";
import { openIn, readable, spoken } from "../open-points.js";
import { attempt, page } from "../shell.js";

/** What each call will be asked for, as it is being written. */
function asked(prompt, opening) {
  const open = openIn(prompt, opening);
  if (open.length === 0) return h("p", { class: "soft small" }, "Every call with it is about the same. Write {place} to be asked each time, {place|the café} to have something if nothing is said.");
  return h("p", { class: "small" }, "Each call asks for: ", ...open.flatMap(({ name, default: otherwise }, index) => [
    index ? "; " : "", h("b", {}, spoken(name)), otherwise === null ? " (needed)" : ` (else “${otherwise}”)`]), ".");
}

/** The form for a new one, or for `scenario`; `done` is told when it is saved, `leave` when not. */
function writer(scenario, done, leave = null) {
  const title = h("input", { name: "title", required: true, maxlength: 100, value: scenario?.title ?? "" });
  const prompt = h("textarea", { name: "prompt", required: true, maxlength: 4000, rows: 5 }, scenario?.prompt ?? "");
  const opening = h("input", { name: "opening", maxlength: 300, value: scenario?.opening ?? "" });
  const minutes = h("input", { name: "max_minutes", type: "number", min: 1, max: 240, value: scenario?.max_minutes ?? "", placeholder: "the persona's" });
  const preview = h("div", { class: "notice", role: "status", "aria-live": "polite" });
  const button = h("button", { type: "submit" }, scenario ? "Save the changes" : "Save the scenario");
  const form = h("form", { novalidate: true },
    field("Title", title, "What you choose it by."),
    field("What the call is about", prompt, "Tell the persona what to do: “Play the owner of {place|a flat} and haggle with me about the rent.”"),
    h("div", { class: "row" },
      field("First words", opening, "Left empty, the persona greets in its own way; {name} is your name."),
      field("Longest call, minutes", minutes)),
    preview, h("div", { class: "actions" }, button, leave ? h("button", { type: "button", class: "second", onclick: leave }, "Leave it") : null));
  const show = () => fill(preview,
    prompt.value.trim() ? h("p", {}, ...readable(prompt.value)) : null, asked(prompt.value, opening.value));
  form.addEventListener("input", show);
  whenSent(form, button, async () => {
    const body = { title: title.value.trim(), prompt: prompt.value.trim(), opening: opening.value.trim(), max_minutes: minutes.value === "" ? null : Number(minutes.value) };
    const saved = scenario ? await patch(`/api/scenarios/${scenario.id}`, body) : await post("/api/scenarios", body);
    notice("good", `“${saved.title}” is saved. It can be chosen when you start or schedule a call.`);
    await done(saved);
  });
  show();
  return form;
}

function used({ uses, last_used_at: last }) {
  if (uses === 0) return "Not used yet.";
  return `Used ${uses === 1 ? "once" : `${uses} times`}${last === null ? "" : `, last on ${moment(last)}`}.`;
}

function card(scenario, changed) {
  const place = h("li", { class: "card" });
  const show = () => {
    const drop = h("button", { type: "button", class: "second", "aria-label": `Delete ${scenario.title}` }, "Delete");
    drop.addEventListener("click", async () => {
      if (!(await confirmed(`Delete “${scenario.title}”?`, "Calls you had with it stay. Calls scheduled about it do not ring until you give them another one under Schedules.", "Delete it"))) return;
      await busy(drop, () => attempt(async () => {
        await remove(`/api/scenarios/${scenario.id}`);
        notice("good", `“${scenario.title}” is deleted.`);
        await changed();
      }));
    });
    fill(place,
      h("h3", {}, scenario.title),
      h("p", {}, ...readable(scenario.prompt)),
      scenario.opening ? h("p", { class: "small" }, h("span", { class: "soft" }, "First words: "), ...readable(scenario.opening)) : null,
      h("p", { class: "soft small" }, used(scenario), scenario.max_minutes === null ? "" : ` At most ${scenario.max_minutes} min.`),
      h("div", { class: "actions" },
        h("a", { class: "button second", href: `/?scenario=${encodeURIComponent(scenario.id)}`, "aria-label": `Call with ${scenario.title}` }, "Call with it"),
        h("button", { type: "button", class: "second", onclick: edit, "aria-label": `Change ${scenario.title}` }, "Change"),
        drop));
  };
  const edit = () => {
    const form = writer(scenario, changed, show);
    fill(place, h("h3", {}, `Change “${scenario.title}”`), form);
    form.elements.title.focus();
  };
  show();
  return place;
}

page(async (root) => {
  const list = h("div", {});
  const fresh = h("section", { class: "card", "aria-label": "A new scenario" });
  const load = async () => {
    const mine = await all("/api/scenarios?sort=popular");
    fill(list, mine.length === 0 ? empty("No scenarios", "Write one above: what a persona should call you about.")
      : h("ul", { class: "plain", "aria-label": "My scenarios" }, ...mine.map((each) => card(each, load))));
  };
  const begin = () => fill(fresh, h("h2", {}, "Write a scenario"), writer(null, async () => {
    begin();
    await load();
  }));
  begin();
  fill(root, fresh, h("h2", {}, "My scenarios"), list);
  await load();
});
