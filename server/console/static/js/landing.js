// What this is, for somebody who is not signed in.

import { fill, h } from "./dom.js";

const STEPS = [
  ["Choose who calls", "Three personas with a voice of their own, and what it is about: an interview, a hard talk, a way out of a dinner."],
  ["Your phone rings", "Or this browser does. You talk, you interrupt, it answers within a breath."],
  ["You see what it costs", "By the second, while you talk. It warns before your limit, says goodbye, and is never over it."],
];
const SAID = [
  ["agent", "Sarah", "Hi Jordan, this is Sarah. Did you get through the interview?"],
  ["caller", "You", "Not yet. Can we practise the one about weaknesses?"],
  ["agent", "Sarah", "Let us. What do you say when they ask?"],
];

/** Fill the page with it. */
export function landing(root) {
  document.querySelector("h1").textContent = "An AI that calls you back";
  fill(root, h("div", { class: "two" },
    h("div", {},
      h("p", { class: "lead" }, "A voice you can talk to, on your own phone and your own server. It remembers you, and it never spends more than you allow."),
      h("ol", { class: "steps" }, ...STEPS.map(([title, words]) => h("li", {}, h("b", {}, title), h("p", { class: "soft" }, words)))),
      h("div", { class: "actions" },
        h("a", { class: "button", href: "/login?new" }, "Make an account"),
        h("a", { class: "button second", href: "/login" }, "Sign in"))),
    h("figure", { class: "card", "aria-label": "A call, as you see it while it happens" },
      h("div", { class: "row" }, h("img", { class: "portrait", src: "/static/img/sarah.svg", alt: "", width: 72, height: 72 }),
        h("div", {}, h("b", {}, "Sarah"), h("p", { class: "soft small" }, h("span", { class: "badge good" }, "On the phone"), " 1:12 · $0.0306 so far"))),
      h("ol", { class: "turns shown" }, ...SAID.map(([role, who, words]) => h("li", { class: `turn ${role}` }, h("span", { class: "who" }, who), h("div", {}, words)))))));
}
