// Who can call me, what each of them is to me, and what each of them remembers.

import { allPersonas } from "../all-personas.js";
import { all, get, patch, put, remove } from "../api.js";
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
      const path = `/api/personas/${persona.id}/relationship`;
      const { voice, manner } = await get(path); // which are not asked for here, and stay
      await put(path, { kind: form.elements.kind.value, notes: form.elements.notes.value, voice, manner });
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
    await changed();
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

/** What the two of us are to each other, and what it remembers. */
async function about(persona) {
  const known = h("div", {});
  const [now] = await Promise.all([get(`/api/personas/${persona.id}/relationship`), memories(persona, known)]);
  return [
    h("section", { class: "card", "aria-label": `You and ${persona.name}` }, h("h2", {}, `You and ${persona.name}`), relationship(persona, now)),
    h("section", { class: "card", "aria-label": "Memories" }, h("h2", {}, `What ${persona.name} remembers`), known)];
}

page(async (root) => {
  const personas = await allPersonas();
  const detail = h("div", {});
  let chosen = null;
  const choose = (persona) => attempt(async () => {
    chosen = persona;
    fill(detail, h("p", { class: "loading", role: "status" }, "Loading…"));
    const shown = await about(persona).catch((error) => {
      if (chosen === persona) fill(detail, h("button", { type: "button", onclick: () => choose(persona) }, "Try again"));
      throw error;
    });
    if (chosen === persona) fill(detail, ...shown); // not if another one was chosen meanwhile
  });
  const choices = h("fieldset", { class: "card" }, h("legend", {}, h("h2", {}, "Personas")),
    h("div", { class: "choices" }, ...personas.map((persona, index) => {
      const radio = h("input", { type: "radio", name: "persona", id: `persona-${persona.id}`, checked: index === 0 });
      radio.addEventListener("change", () => choose(persona));
      return h("div", { class: "choice" }, radio, portrait(persona),
        h("div", {}, h("label", { for: `persona-${persona.id}` }, persona.name), h("p", { class: "soft small" }, persona.tagline), sampleButton(persona)));
    })));
  fill(root, choices, detail);
  await choose(personas[0]);
});
