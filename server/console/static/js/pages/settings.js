// My account: name and zone, password, phone, my data, the way out.

import { get, patch, post, put, remove } from "../api.js";
import { busy, confirmed, field, fill, h, notice } from "../dom.js";
import { download } from "../download.js";
import { whenSent } from "../form.js";
import { moment } from "../format.js";
import { codeForm } from "../phone-proof.js";
import { forget, know, signedIn } from "../session.js";
import { attempt, page } from "../shell.js";
import { partByPart } from "../table.js";

function profile(account) {
  // Some browsers leave UTC out, or spell the account's in another way.
  const known = [...new Set([account.timezone, ...Intl.supportedValuesOf("timeZone"), "UTC"])].sort();
  const button = h("button", { type: "submit" }, "Save");
  const form = h("form", { class: "card", novalidate: true },
    h("h2", {}, "About you"),
    field("Your name", h("input", { name: "name", required: true, maxlength: 100, value: account.name, autocomplete: "given-name" }), "What the persona calls you."),
    field("Time zone", h("select", { name: "timezone" }, ...known.map((zone) => h("option", { selected: zone === account.timezone }, zone))), "Schedules and daily budgets follow it."),
    h("p", { class: "soft small" }, `Signed in as ${account.email}.`),
    h("div", { class: "actions" }, button));
  whenSent(form, button, async () => {
    know(await patch("/api/me", { name: form.elements.name.value.trim(), timezone: form.elements.timezone.value }));
    notice("good", "Saved.");
  });
  return form;
}

/** Ends every other session; this one goes on with the new token. */
function password() {
  const now = h("input", { name: "current_password", type: "password", required: true, autocomplete: "current-password" });
  const wanted = h("input", { name: "new_password", type: "password", required: true, autocomplete: "new-password", minlength: 8 });
  const button = h("button", { type: "submit" }, "Change the password");
  const form = h("form", { class: "card", novalidate: true },
    h("h2", {}, "Password"),
    field("The one you have", now), field("A new one", wanted, "At least 8 characters."),
    h("p", { class: "soft small" }, "Whoever is signed in with your account elsewhere is signed out."),
    h("div", { class: "actions" }, button));
  whenSent(form, button, async () => {
    signedIn(await post("/api/me/password", { current_password: now.value, new_password: wanted.value }));
    form.reset();
    notice("good", "Your password is changed. Other sessions have ended.");
  });
  return form;
}

/** `proved(account)` is told of a number that was verified. */
function phone(account, proved) {
  const section = h("section", { class: "card" });
  const show = (now, changing) => {
    const stop = h("button", { type: "button", class: "second" }, "Never ring this number");
    stop.addEventListener("click", async () => {
      if (!(await confirmed("Stop all calls to this number?", "No persona rings it any more, whoever asks. Verifying the number again lifts that.", "Stop calls"))) return;
      await busy(stop, () => attempt(async () => {
        await post("/api/opt-out");
        notice("good", "This number will not be rung any more.");
        show({ ...now, opted_out: true }, false);
        await agreed.again();
      }));
    });
    const verified = now.phone_verified && !now.opted_out && !changing;
    const told = { lost: LOST, taken_over: TAKEN }[now.phone_notice];
    fill(section, h("h2", {}, "Your phone"),
      told ? h("p", { class: `notice ${now.phone_notice === "lost" ? "warm" : ""}` }, told) : null,
      now.opted_out ? h("p", { class: "notice warm" }, h("b", { class: "num" }, now.phone), " wants no calls and is not rung. Verify it again to be called, or use another number.") : null,
      missed(now, (seen) => show(seen, changing)),
      verified ? h("p", {}, h("b", { class: "num" }, now.phone), " ", h("span", { class: "badge good" }, "verified"))
        : codeForm(now, async (changed) => {
          know(changed);
          notice("good", "Your phone is verified.");
          show(changed, false);
          proved(changed);
          await agreed.again();
        }),
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
    whenSent(form, save, async () => {
      const changed = await put("/api/me/inbound-pin", { pin: input.value });
      know(changed);
      notice("good", "Your PIN is set.");
      show(changed);
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

/** They rang, were told that they are rung back, and were not. */
function missed(account, seen) {
  if (!account.missed_call_back) return null;
  const done = h("button", { type: "button", class: "second" }, "All right");
  done.addEventListener("click", () => busy(done, () => attempt(async () => {
    const changed = await patch("/api/me", { missed_call_back: null });
    know(changed);
    seen(changed);
  })));
  const why = UNRUNG[account.missed_call_back.code] ?? "It was refused.";
  return h("div", { class: "notice warm" },
    h("p", {}, `You rang and were told that we ring back; we did not (${moment(account.missed_call_back.at)}). ${why}`), done);
}

const UNRUNG = {
  phone_not_verified: "Your number is not verified, or was too long ago.",
  opted_out: "Your number wants no calls. Verifying it again lifts that.",
  quiet_hours: "It was night where your phone is, or where you live.",
  rate_limited: "Your phone had been rung too often.",
  call_in_progress: "Your phone was on another call all the time.",
  insufficient_credit: "There was not enough credit.",
  budget_exhausted: "Your budget was used up.",
  not_allowed_number: "Numbers like yours are not rung.",
  overloaded: "The server had no room for another call.",
};

const LOST = "Somebody else has verified this number since. It is not rung for you any more, and what you had scheduled is paused: verify it again if it is yours, or use another.";
const TAKEN = "This number belonged to another account before. It is yours now; that account was told.";

/** The hours in which my phone stays silent: the operator's, none, or my own. */
function quietHours(account) {
  const own = account.quiet_hours;
  const [begins, ends] = own && own !== "off" ? own.split("-") : ["22:00", "07:00"];
  const which = h("select", { name: "which" }, ...[["server", "Those of this server"], ["own", "My own"], ["off", "None: ring me at any hour"]].map(
    ([value, words]) => h("option", { value, selected: value === (own === null ? "server" : own === "off" ? "off" : "own") }, words)));
  const from = h("input", { name: "from", type: "time", value: begins, required: true });
  const to = h("input", { name: "to", type: "time", value: ends, required: true });
  const times = h("div", { class: "actions" }, field("From", from), field("Until", to));
  const show = () => { times.hidden = which.value !== "own"; };
  which.addEventListener("change", show);
  show();
  const button = h("button", { type: "submit" }, "Save quiet hours");
  const form = h("form", { class: "card", novalidate: true },
    h("h2", {}, "Quiet hours"),
    field("No calls in these hours", which, "They hold where your number is and in the time zone you named, and are kept with what you agreed to."),
    times, h("div", { class: "actions" }, button));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = { server: null, off: "off", own: `${from.value}-${to.value}` }[which.value];
    busy(button, () => attempt(async () => {
      know(await patch("/api/me", { quiet_hours: wanted }));
      notice("good", "Your quiet hours are kept.");
      await agreed.again();
    }));
  });
  return form;
}

function said(method) {
  if (method === "code") return "Calls to this number, by entering its code";
  if (method.startsWith("opted out")) return "No more calls to this number";
  if (method.startsWith("schedule ")) return "Scheduled calls";
  return method.charAt(0).toUpperCase() + method.slice(1);
}

/** What I agreed to and when. Taken back by "Never ring this number", which is in the list then. */
const agreed = {
  place: h("section", { class: "card" }),
  async again() {
    const list = h("ul", { class: "plain", "aria-label": "What you agreed to" });
    const words = h("p", { class: "small" });
    const read = h("details", { hidden: true }, h("summary", {}, "The words"), words);
    const { number, more } = await partByPart("Show more",
      (cursor) => get(`/api/me/consents?limit=10${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`),
      (items) => {
        list.append(...items.map((item) => h("li", {}, h("b", {}, said(item.method)), h("br", {}), h("span", { class: "soft small" }, `${item.phone}, ${moment(item.at)}`))));
        words.textContent ||= items.find((item) => item.text)?.text ?? "";
        read.hidden = words.textContent === "";
      });
    fill(agreed.place, h("h2", {}, "What you agreed to"), ...(number === 0
      ? [h("p", { class: "soft" }, "Nothing yet. You agree to calls by verifying your phone.")]
      : [list, more, read, h("p", { class: "soft small" }, "To take it back, choose “Never ring this number” above.")]));
  },
};

function data() {
  const take = h("button", { type: "button", class: "second" }, "Download all of it");
  take.addEventListener("click", () => busy(take, () => attempt(() => download("/api/me/export", "callmeback-export.json"))));
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
  const cards = h("div", { class: "grid" });
  let quiet = null;
  const proved = (now) => {
    quiet?.remove();
    quiet = now.phone_verified ? quietHours(now) : null;
    if (quiet) agreed.place.before(quiet);
  };
  fill(cards, profile(account), password(), phone(account, proved), pin(account), agreed.place, data());
  proved(account);
  fill(root, cards);
  await agreed.again();
});
