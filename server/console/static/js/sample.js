// Hear a persona before it calls.

import { send } from "./api.js";
import { busy, h } from "./dom.js";
import { attempt } from "./shell.js";

let playing = null;

export function sampleButton(persona) {
  const button = h("button", { type: "button", class: "second", "aria-label": `Hear ${persona.name}` }, "▶ Hear");
  button.addEventListener("click", () => busy(button, () => attempt(async () => {
    playing?.pause();
    const answer = await send("GET", `/api/personas/${encodeURIComponent(persona.id)}/sample`);
    const address = URL.createObjectURL(await answer.blob());
    playing = new Audio(address);
    playing.addEventListener("ended", () => URL.revokeObjectURL(address));
    await playing.play();
  })));
  return button;
}
