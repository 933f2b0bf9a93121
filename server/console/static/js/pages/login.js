// Sign in, or make an account.

import { post } from "../api.js";
import { field, fill, h, notice } from "../dom.js";
import { whenSent } from "../form.js";
import { next, signedIn } from "../session.js";
import { page } from "../shell.js";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

function email() {
  return h("input", { name: "email", type: "email", required: true, autocomplete: "username", maxlength: 254 });
}

function form(label, path, fields, body, other) {
  const button = h("button", { type: "submit" }, label);
  const made = h("form", { class: "card", novalidate: true }, ...fields, h("div", { class: "actions" }, button, other));
  whenSent(made, button, async () => {
    signedIn(await post(path, body(made.elements), { open: true }));
    location.assign(next());
  });
  return made;
}

function switcher(words, show) {
  return h("button", { type: "button", class: "second", onclick: show }, words);
}

page(async (root) => {
  const heading = document.querySelector("h1");
  const show = (title, made) => {
    heading.textContent = title;
    fill(root, made);
    made.querySelector("input").focus();
  };
  const signIn = () => show("Sign in", form(
    "Sign in", "/api/auth/login",
    [field("E-mail", email()), field("Password", h("input", { name: "password", type: "password", required: true, autocomplete: "current-password" }))],
    (inputs) => ({ email: inputs.email.value.trim(), password: inputs.password.value }),
    switcher("Make an account", register),
  ));
  const register = () => show("Make an account", form(
    "Make the account", "/api/auth/register",
    [
      field("Your name", h("input", { name: "name", required: true, autocomplete: "given-name", maxlength: 100 }), "What the persona calls you."),
      field("E-mail", email()),
      field("Password", h("input", { name: "password", type: "password", required: true, autocomplete: "new-password", minlength: 8 }), "At least 8 characters."),
    ],
    (inputs) => ({ name: inputs.name.value.trim(), email: inputs.email.value.trim(), password: inputs.password.value, timezone: zone }),
    switcher("I have an account", signIn),
  ));
  if (new URLSearchParams(location.search).has("new")) register();
  else signIn();
  if (new URLSearchParams(location.search).has("ended")) notice("warm", "Your session has ended. Sign in again.");
}, { open: true });
