// Money: what there is, what is set aside, limits, top-up, every posting, the price list.

import { get, orderKey, post, put } from "../api.js";
import { busy, empty, field, fill, h, notice } from "../dom.js";
import { whenSent } from "../form.js";
import { dollars, moment, nanos } from "../format.js";
import { attempt, page } from "../shell.js";
import { partByPart, table } from "../table.js";
import { posting, service } from "../wording.js";

const PAID_TRIES = 10;
const PAID_EVERY_MS = 1500;

function stat(label, amount, hint) {
  return h("div", { class: "card" }, h("p", { class: "soft small" }, label), h("p", { class: "stat num" }, dollars(amount)), h("p", { class: "soft small" }, hint));
}

function balance(credits) {
  return h("div", { class: "grid", id: "balance" },
    stat("Available", credits.available_usd, "What new calls may use."),
    stat("Set aside", credits.held_usd, "Held for calls that are going on; what they do not use comes back."),
    stat("Balance", credits.balance_usd, "Both together."));
}

function usage(title, period, percent) {
  const used = nanos(period.spent_usd) + nanos(period.held_usd);
  const sum = h("p", { class: "num" }, `${dollars(used)}`, period.limit_usd === null ? " used, no limit" : ` of ${dollars(period.limit_usd)} used`);
  if (period.limit_usd === null) return h("div", {}, h("h3", {}, title), sum);
  const limit = nanos(period.limit_usd);
  const share = limit === 0n ? 100 : Number((used * 1000n) / limit) / 10;
  const fillOf = h("span", {});
  const warn = h("i", {});
  const bar = h("div", { class: `bar ${share >= 100 ? "bad" : share >= percent ? "warm" : ""}`, role: "progressbar", "aria-label": `${title}: share of the limit`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.min(100, Math.round(share)) }, fillOf, warn);
  fillOf.style.setProperty("width", `${Math.min(100, share)}%`);
  warn.style.setProperty("left", `${percent}%`);
  return h("div", {}, h("h3", {}, `${title} (${period.period})`), sum, bar);
}

function budgets(now) {
  const section = h("section", { class: "card", "aria-label": "Limits" });
  const show = (budget) => {
    const amount = (name, value) => h("input", { name, inputmode: "decimal", value: value ?? "", placeholder: "no limit", autocomplete: "off" });
    const cutoff = h("input", { type: "checkbox", name: "auto_cutoff", id: "auto-cutoff", checked: budget.auto_cutoff });
    const button = h("button", { type: "submit" }, "Save the limits");
    const form = h("form", { novalidate: true },
      h("div", { class: "row" },
        field("Per call, $", amount("per_call_usd", budget.per_call_usd)),
        field("Per day, $", amount("daily_usd", budget.daily_usd)),
        field("Per month, $", amount("monthly_usd", budget.monthly_usd)),
        field("Warn at, %", h("input", { name: "warn_percent", type: "number", min: 1, max: 100, value: budget.warn_percent }))),
      h("div", { class: "field check" }, cutoff, h("label", { for: "auto-cutoff" }, "End the call when a limit is reached. Off, a limit only warns; your credit always ends it.")),
      h("div", { class: "actions" }, button));
    whenSent(form, button, async () => {
      const inputs = form.elements;
      const given = (name) => inputs[name].value.trim() || null;
      show(await put("/api/budget", {
        per_call_usd: given("per_call_usd"), daily_usd: given("daily_usd"), monthly_usd: given("monthly_usd"),
        warn_percent: Number(inputs.warn_percent.value), auto_cutoff: cutoff.checked,
      }));
      notice("good", "The limits are saved.");
    });
    fill(section, h("h2", {}, "Limits"), h("div", { class: "grid usage" }, usage("Today", budget.day, budget.warn_percent), usage("This month", budget.month, budget.warn_percent)), form);
  };
  show(now);
  return section;
}

function topUp(packs) {
  const section = h("section", { class: "card", "aria-label": "Add credit" }, h("h2", {}, "Add credit"));
  if (packs.length === 0) {
    section.append(h("p", {}, "This server sells no credit. Ask its operator for a grant:"), h("pre", { tabindex: 0 }, h("code", {}, "callmeback credit YOUR-EMAIL 5")));
    return section;
  }
  section.append(h("div", { class: "actions" }, ...packs.map((pack) => {
    const order = orderKey();
    const button = h("button", { type: "button" }, dollars(pack.amount_usd));
    button.addEventListener("click", () => busy(button, () => attempt(async () => {
      const made = await post("/api/credits/checkout", { pack: pack.pack }, { headers: { "idempotency-key": order } });
      location.assign(made.url);
    })));
    return button;
  })), h("p", { class: "soft small" }, "You pay on the payment provider's page and come back here."));
  return section;
}

async function transactions(place) {
  const list = table("Transactions", [["When"], ["What"], ["Amount", "num"], ["Balance after", "num"]], []);
  const { number, more } = await partByPart("Show earlier ones",
    (cursor) => get(`/api/credits/transactions?limit=20${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`),
    (items) => list.add(items.map((each) => [
      moment(each.created_at),
      [each.call_id === null ? posting(each.kind) : h("a", { href: `/calls/${each.call_id}` }, posting(each.kind)), each.note ? h("span", { class: "soft small" }, ` ${each.note}`) : ""],
      dollars(each.amount_usd), dollars(each.balance_after_usd),
    ])));
  fill(place, h("h2", {}, "Transactions"), ...(number === 0
    ? [empty("No transactions yet", "Grants, purchases and calls are listed here, each with the balance after it.")] : [list.element, more]));
}

const UNITS = { second: "second", char: "characters", token_in: "tokens read", token_cached: "tokens read again", token_out: "tokens written", call: "call" };

/** "$0.0140 per minute", "$0.35 per million tokens read". */
function amount(price) {
  if (price.unit === "second" && price.block_units === 60) return `${dollars(price.price_usd)} per minute`;
  const size = { 1: "", 1000: "1,000 ", 1000000: "million " }[price.block_units] ?? `${price.block_units.toLocaleString()} `;
  return `${dollars(price.price_usd)} per ${size}${UNITS[price.unit] ?? price.unit}`;
}

function source(price) {
  const from = /^https:\/\//.test(price.source) ? h("a", { href: price.source, rel: "noreferrer" }, new URL(price.source).host) : price.source;
  return [from, price.note ? h("span", { class: "soft small" }, ` ${price.note}`) : ""];
}

function priced(caption, prices) {
  return table(caption, [["Service"], ["Model"], ["Price"], ["Source"], ["Seen on"]], prices.map((price) => [
    service(price.service), price.destination ? `${price.model} to ${price.destination}` : price.model, amount(price), source(price), h("span", { class: "nowrap" }, price.seen_on ?? "–")])).element;
}

function priceList(prices) {
  const used = prices.filter((price) => price.in_use);
  const others = prices.filter((price) => !price.in_use);
  return h("section", { class: "card", "aria-label": "Prices" }, h("h2", {}, "What your calls are billed by"),
    h("p", { class: "soft" }, "A call in the browser needs no telephone, audio stream or check of who answers."),
    priced("Prices in use", used),
    others.length ? h("details", {}, h("summary", {}, `All other prices this server knows (${others.length})`),
      h("p", { class: "soft" }, "Of services that are not set up here, and of numbers elsewhere."), priced("All other prices", others)) : null);
}

/** Back from the payment page: say when the money is there, and `arrived`. The page's word is no proof; the server's is. */
async function awaitPayment(id, arrived) {
  for (let tries = 0; tries < PAID_TRIES; tries += 1) {
    const order = await get(`/api/credits/purchases/${encodeURIComponent(id)}`);
    if (order.status === "paid") {
      notice("good", `${dollars(order.amount_usd)} of credit is there. Thank you.`);
      await arrived();
      return;
    }
    if (order.status !== "open") {
      notice("bad", "This order was not paid. Nothing was charged; choose a pack to try again.");
      return;
    }
    notice("warm", "Waiting for the payment to be confirmed…");
    await new Promise((resolve) => setTimeout(resolve, PAID_EVERY_MS));
  }
  notice("warm", "The payment is not confirmed yet. It will appear under Transactions once it is.");
}

page(async (root) => {
  const [credits, budget, packs, prices] = await Promise.all([get("/api/credits"), get("/api/budget"), get("/api/credits/packs"), get("/api/prices")]);
  const ledger = h("section", { class: "card", "aria-label": "Transactions" });
  fill(root, balance(credits), topUp(packs.items), budgets(budget), ledger, priceList(prices.items));
  await transactions(ledger);
  const paid = new URLSearchParams(location.search).get("paid");
  if (paid !== null) {
    await attempt(() => awaitPayment(paid, async () => {
      document.getElementById("balance").replaceWith(balance(await get("/api/credits")));
      await transactions(ledger);
    }));
  }
});
