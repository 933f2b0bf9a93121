// How figures are written for people. Money comes as decimal strings and is never a float where it is added; moments are
// in the account's time zone, whatever the browser's is.

import { user } from "./session.js";

const NANO = 1_000_000_000n;

/** "0.014" → 14000000n, exactly. */
export function nanos(text) {
  const [, sign, whole, part = ""] = /^(-?)(\d+)(?:\.(\d{1,9}))?$/.exec(text);
  const amount = BigInt(whole) * NANO + BigInt(part.padEnd(9, "0"));
  return sign ? -amount : amount;
}

/** An amount for reading: cents where there are some, else as many places as it takes to see it. */
export function dollars(text) {
  const amount = typeof text === "bigint" ? text : nanos(text);
  const sign = amount < 0n ? "−" : "";
  const size = amount < 0n ? -amount : amount;
  let places = 2;
  if (size > 0n && size < NANO) places = size < NANO / 1000n ? 6 : 4;
  const unit = 10n ** BigInt(9 - places);
  const rounded = (size + unit / 2n) / unit;
  const scale = 10n ** BigInt(places);
  return `${sign}$${rounded / scale}.${String(rounded % scale).padStart(places, "0")}`;
}

/** 75 → "1:15". */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** A moment, in the reader's words and the account's zone, unless another one is given. */
export function moment(iso, zone = user()?.timezone) {
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short", timeZone: zone });
}

/** A moment to be looked forward to, or back on from near: "Mon, Nov 23, 09:00". */
export const when = (iso, zone) => new Date(iso).toLocaleString(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: zone });

/** The day of a moment in a zone as "2026-11-23": from its parts, for the order in which a locale writes them changes. */
export function dayIn(zone, at) {
  const parts = new Intl.DateTimeFormat("en", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" }).formatToParts(at);
  const [year, month, day] = ["year", "month", "day"].map((type) => parts.find((part) => part.type === type).value);
  return `${year}-${month}-${day}`;
}

export const ms = (value) => `${Math.round(value).toLocaleString()} ms`;

const STATUS = {
  queued: "Preparing", initiated: "Dialling", ringing: "Ringing", "in-progress": "On the phone", completed: "Ended",
  busy: "Busy", "no-answer": "No answer", failed: "Failed", canceled: "Cancelled",
};
const REASON = {
  caller_hung_up: "you hung up", user_hung_up: "ended from here", agent_ended: "said goodbye", budget: "budget used up",
  credit: "credit used up", max_duration: "longest time reached", idle: "nobody spoke", voicemail: "voicemail", fax: "a fax answered",
  opted_out: "asked for no more calls", engine_failure: "a speech engine failed", bad_stream: "the line broke", drained: "server restarted",
  server_lost: "server was lost",
};
export const status = (value) => STATUS[value] ?? value;
export const reason = (value) => (value === null ? "" : (REASON[value] ?? value));

/** How a status looks: good, warm, bad or nothing special. */
export function tone(value) {
  if (value === "in-progress" || value === "ringing") return "good";
  if (["failed", "busy", "no-answer"].includes(value)) return "bad";
  return "";
}
