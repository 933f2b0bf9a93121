// Hear a persona before it calls. One is heard at a time: the one that was asked for last.

import { file, Problem } from "./api.js";
import { busy, h } from "./dom.js";
import { attempt } from "./shell.js";

const speaker = new Audio();
let asked = 0;

export function sampleButton(persona) {
  const button = h("button", { type: "button", class: "second", "aria-label": `Hear ${persona.name}` }, "▶ Hear");
  button.addEventListener("click", () => busy(button, () => attempt(async () => {
    const mine = ++asked;
    speaker.pause();
    const sound = await file(`/api/personas/${encodeURIComponent(persona.id)}/sample`);
    if (mine === asked) await heard(sound, () => mine === asked);
  })));
  return button;
}

/** Raises `Problem` where the browser does not play it; not where another one is `wanted` by now. */
async function heard(sound, wanted) {
  URL.revokeObjectURL(speaker.src);
  speaker.src = URL.createObjectURL(sound);
  try {
    await speaker.play();
  } catch {
    if (wanted()) throw new Problem(0, { detail: "The browser does not play the sound. Allow sound for this page, then press it again." });
  }
}
