// What the server's words for services, units, postings and limits are called for people.

/** In the order in which they are shown. */
export const SERVICES = {
  carrier: "Telephone", stream: "Audio stream", amd: "Checking who answers", stt: "Listening", llm: "Thinking", tts: "Speaking",
};
export const service = (name) => SERVICES[name] ?? name;

/** Names of services in the order of `SERVICES`; what is not known there comes last. */
export function inOrder(names) {
  const order = Object.keys(SERVICES);
  const place = (name) => (order.indexOf(name) + order.length + 1) % (order.length + 1);
  return [...names].sort((one, other) => place(one) - place(other));
}

const UNITS = {
  second: ["second", "seconds"], char: ["letter spoken", "letters spoken"], call: ["call", "calls"],
  token_in: ["token read", "tokens read"], token_cached: ["token read again", "tokens read again"], token_out: ["token written", "tokens written"],
};

/** 60, "second" → "60 seconds". */
export function amount(quantity, unit) {
  const [one, many] = UNITS[unit] ?? [unit, unit];
  return `${quantity.toLocaleString()} ${quantity === 1 ? one : many}`;
}

const POSTINGS = { usage: "Call", adjustment: "Corrected by the telephone bill", refund: "Paid back", grant: "Granted", purchase: "Bought" };
export const posting = (kind) => POSTINGS[kind] ?? kind;

const BOUNDS = {
  credit: "all the credit there is for it", call: "your limit per call", day: "what your limit for a day leaves", month: "what your limit for a month leaves",
};
export const bounding = (by) => BOUNDS[by] ?? by;

const FAILED = new Set(["engine_failure", "bad_stream", "server_lost"]);
const CUT = new Set(["budget", "credit", "max_duration", "idle", "voicemail", "fax", "drained"]);

/** How good an end is: good, warm or bad. One without a reason was never answered. */
export function endTone({ status, end_reason: why }) {
  if (FAILED.has(why) || status === "failed") return "bad";
  return CUT.has(why) || (why === null && status !== "completed") ? "warm" : "good";
}

/** What is on record in the audit trail. A test looks that none is missing. */
const DEEDS = {
  "audit.asked": "Had the books audited", "audit.result": "Audited the books", "credit.granted": "Granted credit",
  "opt_out.added": "Stopped all calls to a number", "inbound.blocked": "Blocked a number that rings", "inbound.unblocked": "Answers a number again",
  "operator.made": "Made somebody an operator", "operator.removed": "Took the operator's role away", "node.drained": "Had a node take no more calls",
  "password.set": "Gave an account another password",
  "prices.imported": "Put new prices in force", "purchase.refunded": "Refunded a purchase",
  "persona.added": "Added a persona", "persona.changed": "Changed a persona", "persona.removed": "Removed a persona",
  adjust: "Corrected a call by the telephone bill", price: "Found the telephone bill priced otherwise",
};
export const deed = (action) => DEEDS[action] ?? action;

/** Who did it: an operator by the beginning of their account's id, or the server by itself. */
export const actor = (name) => {
  if (name === "command line") return "the command line";
  return name.startsWith("user:") ? `operator ${name.slice(5, 13)}` : "the server, by itself";
};

const JOBS = { audit: "Auditing the books", reconcile: "Comparing calls with the telephone bill", call_back: "Ringing back", payments: "Asking after open orders", retention: "Deleting what is old" };
export const job = (kind) => JOBS[kind] ?? kind;
