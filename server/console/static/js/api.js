// The REST API. Every answer that is no success becomes a `Problem` with a sentence that can be shown.

import { toldBy } from "./server-time.js";
import { toSignIn, token } from "./session.js";

/** What to do about a refusal, by its stable code; the server's own sentence comes first. */
const ADVICE = {
  insufficient_credit: "Add credit under Money, then try again.",
  budget_exhausted: "Raise or remove the limit under Money, or wait until the period is over.",
  phone_not_verified: "Verify your phone under Settings.",
  opted_out: "Verify the number again under Settings to allow calls.",
  overloaded: "Wait a moment and try again.",
  rate_limited: "Wait a little before you try again.",
  call_in_progress: "Look under Calls; hang up there if need be.",
};

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? "The server did not answer as expected.");
    this.status = status;
    this.code = body.code ?? "unknown";
    this.errors = body.errors ?? [];
    this.body = body;
  }

  /** All that a person should read. */
  get words() {
    const advice = ADVICE[this.code];
    return advice ? `${this.message} ${advice}` : this.message;
  }
}

export class Unreachable extends Problem {
  constructor() {
    super(0, { detail: "The server cannot be reached. Check that it runs and that you are online, then try again.", code: "unreachable" });
  }
}

/** One request. The token goes with it unless `open`; a session that ended leads to the sign-in page. */
export async function api(method, path, body = undefined, options = {}) {
  const response = await send(method, path, body, options);
  return response.status === 204 ? null : whole(response.json());
}

/** A file, all of it. Raises as `api` does. */
export async function file(path) {
  return whole((await send("GET", path)).blob());
}

/** An answer can break off behind its head. */
async function whole(body) {
  try {
    return await body;
  } catch {
    throw new Unreachable();
  }
}

/** The answer itself, for streams. Raises as `api` does. */
export async function send(method, path, body = undefined, { headers = {}, open = false, signal = undefined } = {}) {
  const sent = { ...headers };
  if (body !== undefined) sent["content-type"] = "application/json";
  if (!open && token() !== null) sent.authorization = `Bearer ${token()}`;
  const asked = Date.now();
  let response;
  try {
    response = await fetch(path, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable();
  }
  toldBy(response, asked);
  if (response.ok) return response;
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    problem = {};
  }
  if (response.status === 401 && !open) toSignIn({ ended: true });
  throw new Problem(response.status, problem);
}

export const get = (path, options = {}) => api("GET", path, undefined, options);
export const post = (path, body = undefined, options = {}) => api("POST", path, body, options);
export const put = (path, body, options = {}) => api("PUT", path, body, options);
export const patch = (path, body, options = {}) => api("PATCH", path, body, options);
export const remove = (path, options = {}) => api("DELETE", path, undefined, options);

/** What an order is placed under, once however often it is sent. (`randomUUID` is missing over http from another machine.) */
export const orderKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** A key for each thing that a form orders: the same for the same, whatever became of the answer, until `anew`. */
export class OrderKeys {
  keys = new Map();

  of(order) {
    const said = JSON.stringify(order);
    if (!this.keys.has(said)) this.keys.set(said, orderKey());
    return this.keys.get(said);
  }

  /** It is known what became of it: the same again is another order. */
  anew() {
    this.keys.clear();
  }
}

/** Every item of a list that the server keeps short, page after page; of others `partByPart` shows a part. */
export async function all(path) {
  const items = [];
  let cursor = null;
  do {
    const url = new URL(path, location.origin);
    url.searchParams.set("limit", "100");
    if (cursor !== null) url.searchParams.set("cursor", cursor);
    const page = await get(url.pathname + url.search);
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return items;
}
