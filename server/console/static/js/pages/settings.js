// My account: name and zone, phone, my data, the way out.

import { patch, post, put, remove, send } from "../api.js";
import { busy, confirmed, field, fill, h, mark, notice, unmark } from "../dom.js";
import { Problem } from "../api.js";
import { codeForm } from "../phone-proof.js";
import { forget, know } from "../session.js";
import { attempt, page, tell } from "../shell.js";

function profile(account) {
  const zones = Intl.supportedValuesOf("timeZone");
  const known = zones.includes(account.timezone) ? zones : [account.timezone, ...zones];
  const button = h("button", { type: "submit" }, "Save");
  const form = h("form", { class: "card", novalidate: true },
    h("h2", {}, "About you"),
    field("Your name", h("input", { name: "name", required: true, maxlength: 100, value: account.name, autocomplete: "given-name" }), "What the persona calls you."),
    field("Time zone", h("select", { name: "timezone" }, ...known.map((zone) => h("option", { selected: zone === account.timezone }, zone))), "Schedules and daily budgets follow it."),
    h("p", { class: "soft small" }, `Signed in as ${account.email}.`),
    h("div", { class: "actions" }, button));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(button, async () => {
      unmark(form);
      try {
        know(await patch("/api/me", { name: form.elements.name.value.trim(), timezone: form.elements.timezone.value }));
        notice("good", "Saved.");
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (!error.errors.length || !mark(form, error.errors)) tell(error);
      }
    });
  });
  return form;
}

function phone(account) {
  const section = h("section", { class: "card" });
  const show = (now, changing) => {
    const stop = h("button", { type: "button", class: "second" }, "Never ring this number");
    stop.addEventListener("click", async () => {
      if (!(await confirmed("Stop all calls to this number?", "No persona rings it any more, whoever asks. Verifying the number again lifts that.", "Stop calls"))) return;
      await busy(stop, () => attempt(async () => {
        await post("/api/opt-out");
        notice("good", "This number will not be rung any more.");
      }));
    });
    const verified = now.phone_verified && !changing;
    fill(section, h("h2", {}, "Your phone"),
      verified ? h("p", {}, h("b", { class: "num" }, now.phone), " ", h("span", { class: "badge good" }, "verified"))
        : codeForm(now, (changed) => { know(changed); notice("good", "Your phone is verified."); show(changed, false); }),
      verified ? h("div", { class: "actions" }, h("button", { type: "button", class: "second", onclick: () => show(now, true) }, "Use another number"), stop) : null);
  };
  show(account, false);
  return section;
}

function pin(account) {
  const section = h("section", { class: "card" });
  const show = (now) => {
    const save = h("button", { type: "submit" }, now.inbound_pin ? "Change it" : "Set it");
    const drop = h("button", { type: "button", class: "second" }, "Remove it");
    const input = h("input", { name: "pin", type: "password", required: true, inputmode: "numeric", minlength: 6, maxlength: 10, autocomplete: "off" });
    const form = h("form", { novalidate: true },
      field(now.inbound_pin ? "A new PIN" : "PIN", input, "6 to 10 digits. Key it in, then the pound key, when you ring the number that rings you."),
      h("div", { class: "actions" }, save, now.inbound_pin ? drop : null));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      busy(save, async () => {
        unmark(form);
        try {
          const changed = await put("/api/me/inbound-pin", { pin: input.value });
          know(changed);
          notice("good", "Your PIN is set.");
          show(changed);
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          if (!error.errors.length || !mark(form, error.errors)) tell(error);
        }
      });
    });
    drop.addEventListener("click", () => busy(drop, () => attempt(async () => {
      const changed = await remove("/api/me/inbound-pin");
      know(changed);
      show(changed);
    })));
    fill(section, h("h2", {}, "Ringing in"),
      h("p", { class: "soft" }, "A number can be forged, so only a PIN tells a persona that it is you. Without it whoever rings is a stranger."), form);
  };
  show(account);
  return section;
}

function data() {
  const take = h("button", { type: "button", class: "second" }, "Download all of it");
  take.addEventListener("click", () => busy(take, () => attempt(async () => {
    const address = URL.createObjectURL(await (await send("GET", "/api/me/export")).blob());
    h("a", { href: address, download: "callmeback-export.json" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  })));
  const erase = h("button", { type: "button", class: "danger" }, "Delete my account");
  erase.addEventListener("click", async () => {
    if (!(await confirmed("Delete your account?", "Your calls, transcripts, recordings, memories and remaining credit go with it, at once and for good.", "Delete everything"))) return;
    await busy(erase, () => attempt(async () => {
      await remove("/api/me");
      forget();
      location.assign("/login");
    }));
  });
  return h("section", { class: "card" }, h("h2", {}, "Your data"),
    h("p", { class: "soft" }, "Everything this server keeps of you, as one JSON file: profile, calls, transcripts, memories, ledger."),
    h("div", { class: "actions" }, take, erase));
}

page(async (root, account) => {
  fill(root, h("div", { class: "grid" }, profile(account), phone(account), pin(account), data()));
});
