// Prove that a telephone is mine: the number, then the code that arrives there.

import { get, post, Problem } from "./api.js";
import { field, fill, h } from "./dom.js";
import { whenSent } from "./form.js";
import { signedIn } from "./session.js";

/** The two steps; `done(account)` is told when the number is proved. */
export function codeForm(account, done) {
  const place = h("div", {});
  const ask = (number) => {
    const input = h("input", { name: "phone", type: "tel", autocomplete: "tel", required: true, value: number ?? "", placeholder: "+1 202 555 0142" });
    const button = h("button", { type: "submit" }, "Send me a code");
    const form = h("form", { novalidate: true }, field("Phone number", input, "With + and the country code."), h("div", { class: "actions" }, button));
    whenSent(form, button, async () => {
      const number = input.value.trim();
      await enter(number, await post("/api/me/phone", { phone: number }));
    });
    fill(place, form);
  };
  const enter = async (number, answer) => {
    const input = h("input", { name: "code", inputmode: "numeric", autocomplete: "one-time-code", required: true });
    const button = h("button", { type: "submit" }, "Verify");
    const form = h("form", { novalidate: true },
      field(`Code sent to the number ending in ${answer.phone_last2}`, input, "Six digits, good for ten minutes and five tries."),
      h("div", { class: "actions" }, button, h("button", { type: "button", class: "second", onclick: () => ask(number) }, "Another number")),
      h("p", { class: "soft small" }, answer.consent));
    whenSent(form, button, async () => {
      const { token, expires_at, ...proved } = await post("/api/me/phone/verify", { code: digits(input.value) });
      if (token) signedIn({ token, user: proved }); // another number took the place of mine: all sessions have ended
      await done(proved);
    }, wrongCode);
    fill(place, form, await screen());
    input.focus();
  };
  ask(account.phone);
  return place;
}

/** A code as it is pasted from a message: "123 456", "123-456". */
const digits = (text) => text.replaceAll(/[\s\u2010-\u2015-]/g, "");

const wrongCode = ({ code, message, errors }) => (code === "wrong_code" ? [{ field: "code", message }] : errors);

/** In the simulated set-up there is no phone to look at, so its screen is shown here. */
async function screen() {
  try {
    const texts = await get("/api/simulation/texts");
    const latest = texts.items[0];
    return latest ? h("p", { class: "notice", role: "status" }, h("strong", {}, "Simulated phone: "), latest.body) : null;
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}
