// A face for a persona: its own drawing where there is one, else a pattern made of its name.

import { h, s } from "./dom.js";

const DRAWN = new Set(["brad", "sarah", "alex"]);
const GROUNDS = ["#0f6e62", "#9a5b00", "#5b3fa0", "#a8326b", "#2f6db3"];

export function portrait(persona) {
  if (DRAWN.has(persona.id)) {
    return h("img", { class: "portrait", src: `/static/img/${persona.id}.svg`, alt: "", width: 72, height: 72 });
  }
  let sum = 0;
  for (const letter of persona.id) sum = (sum * 31 + letter.codePointAt(0)) % 997;
  return s("svg", { class: "portrait", viewBox: "0 0 72 72", "aria-hidden": "true" },
    s("circle", { cx: 36, cy: 36, r: 36, fill: GROUNDS[sum % GROUNDS.length] }),
    s("text", { x: 36, y: 46, "text-anchor": "middle", "font-size": 28, "font-weight": 700, fill: "#fff" }, persona.name.slice(0, 1).toUpperCase()));
}
