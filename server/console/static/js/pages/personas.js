// Who can call me, what each of them is to me, and what each of them remembers.

import { all, get, patch, Problem, put, remove } from "../api.js";
import { busy, confirmed, empty, field, fill, h, notice } from "../dom.js";
import { moment } from "../format.js";
import { portrait } from "../portrait.js";
import { sampleButton } from "../sample.js";
import { attempt, page } from "../shell.js";

const KINDS = ["friend", "partner", "coach", "mentor", "colleague", "parent", "stranger"];
const SORTS = { fact: "Fact", summary: "Last time", thread: "To come back to" };

function relationship(persona, now) {
  const kinds = KINDS.includes(now.kind) ? KINDS : [now.kind, ...KINDS];
  const button = h("button", { type: "submit" }, "Save");
  const form = h("form", { novalidate: true },
    field(`${persona.name} is to you`, h("select", { name: "kind" }, ...kinds.map((kind) => h("option", { selected: kind === now.kind }, kind)))),
    field("What they should know of you", h("textarea", { name: "notes", maxlength: 2000 }, now.notes), "In your words; nobody else sees it."),
    h("div", { class: "actions" }, button));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(button, () => attempt(async () => {
      await put(`/api/personas/${persona.id}/relationship`, { kind: form.elements.kind.value, notes: form.elements.notes.value });
      notice("good", "Saved. The next call knows it.");
    }));
  });
  const calls = now.calls === 0 ? "You have not talked yet." : `${now.calls} ${now.calls === 1 ? "call" : "calls"} so far, the last on ${moment(now.last_call_at)}.`;
  return h("div", {}, h("p", { class: "soft small" }, calls), form);
}

function memory(persona, known, changed) {
  const path = `/api/personas/${persona.id}/memories/${known.id}`;
  const text = h("p", {}, known.text);
  const source = known.call_id === null ? "written by you" : h("a", { href: `/calls/${known.call_id}` }, `from your call of ${moment(known.created_at)}`);
  const row = h("li", { class: "card memory" });
  const show = () => fill(row,
    h("p", { class: "small soft" }, h("span", { class: "badge" }, SORTS[known.kind] ?? known.kind), " ", source),
    text,
    h("div", { class: "actions" },
      h("button", { type: "button", class: "second", onclick: edit }, "Correct"),
      h("button", { type: "button", class: "second", onclick: forget, "aria-label": `Forget: ${known.text}` }, "Forget")));
  const edit = () => {
    const input = h("textarea", { maxlength: 200, rows: 2 }, known.text);
    const save = h("button", { type: "button" }, "Save");
    save.addEventListener("click", () => busy(save, () => attempt(async () => {
      known = await patch(path, { text: input.value.trim() });
      text.textContent = known.text;
      show();
    })));
    fill(row, field("What is right", input), h("div", { class: "actions" }, save, h("button", { type: "button", class: "second", onclick: show }, "Leave it")));
    input.focus();
  };
  const forget = (event) => busy(event.currentTarget, () => attempt(async () => {
    await remove(path);
    changed();
    notice("good", `Forgotten: “${known.text}”. It will not come back.`);
  }));
  show();
  return row;
}

async function memories(persona, place) {
  const known = await all(`/api/personas/${persona.id}/memories`);
  const again = () => memories(persona, place);
  if (known.length === 0) {
    fill(place, empty("Nothing remembered yet", `After a call, what ${persona.name} learned about you stands here, to be corrected or forgotten.`));
    return;
  }
  const everything = h("button", { type: "button", class: "danger" }, "Forget everything");
  everything.addEventListener("click", async () => {
    if (!(await confirmed(`Forget everything ${persona.name} knows?`, "What you told it in your calls is deleted for good.", "Forget everything"))) return;
    await busy(everything, () => attempt(async () => {
      await remove(`/api/personas/${persona.id}/memories`);
      await again();
    }));
  });
  fill(place, h("ul", { class: "plain" }, ...known.map((each) => memory(persona, each, again))), everything);
}

page(async (root) => {
  const personas = await all("/api/personas");
  const detail = h("div", { tabindex: -1 });
  const choose = (persona) => attempt(async () => {
    const now = await get(`/api/personas/${persona.id}/relationship`);
    const known = h("div", {});
    fill(detail,
      h("section", { class: "card", "aria-label": `You and ${persona.name}` }, h("h2", {}, `You and ${persona.name}`), relationship(persona, now)),
      h("section", { class: "card", "aria-label": "Memories" }, h("h2", {}, `What ${persona.name} remembers`), known));
    await memories(persona, known);
  });
  const choices = h("fieldset", { class: "card" }, h("legend", {}, h("h2", {}, "Personas")),
    h("div", { class: "choices" }, ...personas.map((persona, index) => {
      const radio = h("input", { type: "radio", name: "persona", id: `persona-${persona.id}`, checked: index === 0 });
      radio.addEventListener("change", () => choose(persona));
      return h("div", { class: "choice" }, radio, portrait(persona),
        h("div", {}, h("label", { for: `persona-${persona.id}` }, persona.name), h("p", { class: "soft small" }, persona.tagline), sampleButton(persona)));
    })));
  fill(root, choices, detail);
  if (personas.length === 0) throw new Problem(404, { detail: "There are no personas. The operator imports some with callmeback personas import." });
  await choose(personas[0]);
});
