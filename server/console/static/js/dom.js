// Building and changing the page. Text is always text: nothing here takes HTML.

/** An element: `h("p", {class: "soft"}, "Hello ", h("b", {}, name))`. `on…` attributes are listeners; null ones are left out. */
export function h(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** The same for drawings. */
export function s(tag, attributes = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach(([key, text]) => element.style.setProperty(key, text));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Put these in the place of whatever `element` holds. Where the focus was on what goes, it stays at that place of the page. */
export function fill(element, ...children) {
  const held = element.contains(document.activeElement);
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  if (held && !element.contains(document.activeElement)) {
    element.tabIndex = -1;
    element.focus({ preventScroll: true });
  }
  return element;
}

export const content = () => document.getElementById("content");

/** Tell what happened, in plain words; read out by a screen reader. `kind`: good, warm or bad. */
export function notice(kind, ...words) {
  const shown = h("p", { class: `notice ${kind}` }, ...words);
  fill(document.getElementById("notices"), shown);
  if (kind === "bad") shown.scrollIntoView({ block: "nearest" });
  return shown;
}

export function clearNotices() {
  fill(document.getElementById("notices"));
}

/** Run `work` while `button` shows that it is under way; it cannot be pressed twice. It is not `disabled`, which would take the focus from it. */
export async function busy(button, work) {
  if (button.getAttribute("aria-busy") === "true") return undefined;
  button.setAttribute("aria-disabled", "true");
  button.setAttribute("aria-busy", "true");
  try {
    return await work();
  } finally {
    button.removeAttribute("aria-disabled");
    button.removeAttribute("aria-busy");
  }
}

let fields = 0;

/** A labelled field. `input` is an element; `hint` says what to write. */
export function field(label, input, hint = null) {
  const id = input.id || `field-${++fields}`;
  input.id = id;
  const described = [];
  const parts = [h("label", { for: id }, label), input];
  if (hint !== null) {
    parts.push(h("p", { class: "hint", id: `${id}-hint` }, hint));
    described.push(`${id}-hint`);
  }
  if (described.length) input.setAttribute("aria-describedby", described.join(" "));
  return h("div", { class: "field" }, ...parts);
}

/** Show under each field what the server said of it; true when every error found its field. */
export function mark(form, errors) {
  let all = true;
  for (const { field: name, message } of errors) {
    const input = form.elements.namedItem(name) ?? form.elements.namedItem(name.split(".")[0]);
    if (!(input instanceof HTMLElement)) {
      all = false;
      continue;
    }
    const id = `${input.id}-wrong`;
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-errormessage", id);
    input.parentElement.querySelector(".wrong")?.remove();
    input.after(h("p", { class: "wrong", id, role: "alert" }, sentence(message)));
  }
  form.querySelector('[aria-invalid="true"]')?.focus();
  return all;
}

export function unmark(form) {
  form.querySelectorAll(".wrong").forEach((wrong) => wrong.remove());
  form.querySelectorAll("[aria-invalid]").forEach((input) => input.removeAttribute("aria-invalid"));
}

const VERB = /^(?:is|has|may|needs|does|comes|ends)\b/;

/** "is no time zone" → "This is no time zone."; what has a subject keeps it. */
export function sentence(text) {
  const words = text.trim();
  const trimmed = VERB.test(words) ? `this ${words}` : words;
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?…]$/.test(trimmed) ? "" : ".");
}

/** What a list says that has nothing in it yet: a headline, what to do first, and a way to do it. */
export function empty(headline, advice, ...actions) {
  return h("div", { class: "empty" }, h("strong", {}, headline), h("p", {}, advice), ...actions);
}

/** Ask before something that cannot be taken back. Resolves to true or false. */
export function confirmed(question, explanation, yes, no = "Keep it") {
  const agree = h("button", { type: "submit", class: "danger", value: "yes" }, yes);
  const dialog = h(
    "dialog",
    { "aria-label": question },
    h("form", { method: "dialog" },
      h("h2", {}, question),
      h("p", {}, explanation),
      h("div", { class: "actions" }, agree, h("button", { type: "submit", class: "second", value: "no", autofocus: true }, no)),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
