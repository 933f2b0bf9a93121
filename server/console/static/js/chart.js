// Drawings of figures, as SVG with a table of the same figures for those who do not see them.

import { h, s } from "./dom.js";
import { clock, dollars, ms, nanos } from "./format.js";

const WIDTH = 720;
const NARROW = 400; // beside the transcript; letters keep their size
const COLOURS = ["var(--series-1)", "var(--series-2)", "var(--series-3)", "var(--series-4)", "var(--series-5)"];

export const colour = (index) => COLOURS[index % COLOURS.length];

function drawing(width, height, label, ...parts) {
  return s("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...parts);
}

/** What a call has cost by each second: a rising line. `seconds`: [{second, usd}]. */
export function costOverTime(seconds, duration) {
  const height = 180;
  const [left, right, top, bottom] = [64, 12, 12, 26];
  let sum = 0n;
  const points = [[0, 0n]];
  for (const { second, usd } of seconds) {
    points.push([second, sum]);
    sum += nanos(usd);
    points.push([second, sum]);
  }
  const end = Math.max(1, duration, points.at(-1)[0]);
  points.push([end, sum]);
  const most = sum > 0n ? sum : 1n;
  const x = (second) => left + (second / end) * (NARROW - left - right);
  const y = (amount) => top + (1 - Number((amount * 10000n) / most) / 10000) * (height - top - bottom);
  const line = points.map(([second, amount]) => `${x(second).toFixed(1)},${y(amount).toFixed(1)}`).join(" ");
  const marks = [0, 0.5, 1].map((share) => {
    const amount = (most * BigInt(share * 2)) / 2n;
    return [s("line", { class: "axis", x1: left, x2: NARROW - right, y1: y(amount), y2: y(amount) }),
      s("text", { x: left - 6, y: y(amount) + 4, "text-anchor": "end" }, dollars(amount))];
  });
  return drawing(NARROW, height, `Cost over time: ${dollars(sum)} after ${clock(end)}`,
    ...marks.flat(),
    s("polyline", { points: line, fill: "none", stroke: colour(0), "stroke-width": 2.5 }),
    s("text", { x: left, y: height - 6 }, "0:00"),
    s("text", { x: NARROW - right, y: height - 6, "text-anchor": "end" }, clock(end)));
}

const STAGES = [
  ["end_of_turn_ms", "Turn is over"], ["first_token_ms", "First word of the reply"],
  ["first_audio_ms", "First sound made"], ["audible_ms", "Heard on the phone"],
];

/** Where the time of each answer went. `turns`: [{index, latency}]. */
export function waterfall(turns) {
  const row = 24;
  const [left, right, top] = [64, 70, 8];
  const height = top + row * turns.length + 8;
  const most = Math.max(1, ...turns.map((turn) => turn.latency.audible_ms));
  const x = (value) => left + (Math.max(0, value) / most) * (WIDTH - left - right);
  const bars = turns.map((turn, line) => {
    const y = top + line * row;
    let from = 0;
    const pieces = STAGES.map(([stage], index) => {
      const to = Math.max(from, turn.latency[stage]);
      const piece = s("rect", { x: x(from), y: y + 3, width: Math.max(0.5, x(to) - x(from)), height: row - 8, fill: colour(index) });
      from = to;
      return piece;
    });
    return [s("text", { x: left - 6, y: y + 15, "text-anchor": "end" }, `Turn ${turn.index}`), ...pieces,
      s("text", { x: x(turn.latency.audible_ms) + 6, y: y + 15 }, ms(turn.latency.audible_ms))];
  });
  const legend = h("p", { class: "small soft" }, ...STAGES.flatMap(([, words], index) => [
    s("svg", { width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" }, s("rect", { width: 12, height: 12, fill: colour(index) })),
    ` ${words}  `,
  ]));
  const table = h("table", { class: "sr" }, h("caption", {}, "Latency of each answer in milliseconds"),
    h("thead", {}, h("tr", {}, h("th", {}, "Turn"), ...STAGES.map(([, words]) => h("th", {}, words)))),
    h("tbody", {}, ...turns.map((turn) => h("tr", {}, h("td", {}, String(turn.index)), ...STAGES.map(([stage]) => h("td", {}, String(turn.latency[stage])))))));
  return h("div", {}, drawing(WIDTH, height, "Latency of each answer, stage by stage", ...bars.flat()), legend, table);
}

/** What each day of the last month cost: bars. `days`: [{day, calls, usd}], days without calls left out. */
export function spendByDay(days) {
  const height = 120;
  const [left, top, bottom] = [64, 10, 22];
  const known = new Map(days.map((each) => [each.day, each]));
  const last = Date.parse(`${days.at(-1).day}T00:00:00Z`);
  const shown = Array.from({ length: 31 }, (_, index) => {
    const day = new Date(last - (30 - index) * 86_400_000).toISOString().slice(0, 10);
    return known.get(day) ?? { day, calls: 0, usd: "0.00" };
  });
  const most = shown.reduce((found, each) => (nanos(each.usd) > found ? nanos(each.usd) : found), 1n);
  const room = height - top - bottom;
  const wide = (NARROW - left - 8) / shown.length;
  const bars = shown.map((each, index) => {
    const size = (Number((nanos(each.usd) * 1000n) / most) / 1000) * room;
    return s("rect", { x: left + index * wide, y: top + room - size, width: wide - 2, height: size, fill: colour(0) });
  });
  return h("div", {},
    drawing(NARROW, height, `Cost of each day, at most ${dollars(most)}`,
      s("line", { class: "axis", x1: left, x2: NARROW - 8, y1: top + room, y2: top + room }),
      s("text", { x: left - 6, y: top + 10, "text-anchor": "end" }, dollars(most)), ...bars,
      s("text", { x: left, y: height - 6 }, shown[0].day), s("text", { x: NARROW - 8, y: height - 6, "text-anchor": "end" }, shown.at(-1).day)),
    h("table", { class: "sr" }, h("caption", {}, "Cost of each day"), h("tbody", {}, ...days.map((each) => h("tr", {}, h("th", { scope: "row" }, each.day), h("td", {}, `${each.calls} calls, ${dollars(each.usd)}`))))));
}
