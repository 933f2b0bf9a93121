// Drawings of figures, as SVG with a table of the same figures for those who do not see them.

import { fill, h, s } from "./dom.js";
import { clock, dollars, ms, nanos } from "./format.js";
import { inOrder, service } from "./wording.js";

const COLOURS = ["var(--series-1)", "var(--series-2)", "var(--series-3)", "var(--series-4)", "var(--series-5)", "var(--series-6)"];

export const colour = (index) => COLOURS[index % COLOURS.length];

function drawing(width, height, label, ...parts) {
  return s("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...parts);
}

/** A drawing that is made anew for the width it gets, so that its letters keep their size. `draw(width)` makes it. */
function fitted(draw) {
  const element = h("div", {});
  let drawn = 0;
  new ResizeObserver(([{ contentRect }]) => {
    const width = Math.round(contentRect.width);
    if (width === drawn || width === 0) return;
    drawn = width;
    requestAnimationFrame(() => fill(element, draw(width)));
  }).observe(element);
  return element;
}

/** Words that cannot be seen in a drawing. The box around a table is what can be made small, not the table. */
const unseen = (table) => h("div", { class: "sr" }, table);

function legend(entries) {
  return h("p", { class: "legend small soft" }, ...entries.map(([words, index]) => h("span", {},
    s("svg", { width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" }, s("rect", { width: 12, height: 12, fill: colour(index) })), ` ${words}`)));
}

/** The same figures as a table, for whoever opens it. */
function figures(caption, heads, rows) {
  return h("details", {}, h("summary", { class: "small" }, "As figures"),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, h("table", { class: "small" },
      h("caption", { class: "sr" }, caption),
      h("thead", {}, h("tr", {}, ...heads.map((words, index) => h("th", { scope: "col", class: index === 0 ? null : "num" }, words)))),
      h("tbody", {}, ...rows.map(([head, ...cells]) => h("tr", {}, h("th", { scope: "row" }, head), ...cells.map((cell) => h("td", { class: "num" }, cell))))))));
}

/** How much each service has come to by each second in which something was bought: [[second, {service: nanos}]]. */
function grown(seconds) {
  const sums = {};
  return seconds.map(({ second, services }) => {
    for (const [name, usd] of Object.entries(services)) sums[name] = (sums[name] ?? 0n) + nanos(usd);
    return [second, { ...sums }];
  });
}

const total = (sums) => Object.values(sums).reduce((sum, each) => sum + each, 0n);

/** What a call has cost by each second, one service on top of the other. `seconds`: [{second, usd, services}]. */
export function costOverTime(seconds, duration) {
  const states = grown(seconds);
  const [lastly, sums] = states.at(-1);
  const names = inOrder(Object.keys(sums));
  const end = Math.max(1, duration, lastly);
  const draw = (width) => {
    const height = 180;
    const [left, right, top, bottom] = [64, 12, 12, 26];
    const most = states.reduce((found, [, each]) => (total(each) > found ? total(each) : found), 1n);
    const x = (second) => (left + (second / end) * (width - left - right)).toFixed(1);
    const y = (amount) => (top + (1 - Number((amount * 10000n) / most) / 10000) * (height - top - bottom)).toFixed(1);
    const below = (each, count) => names.slice(0, count).reduce((sum, name) => sum + (each[name] ?? 0n), 0n);
    const edge = (count) => {
      const points = [[0, 0n]];
      for (const [second, each] of states) points.push([second, points.at(-1)[1]], [second, below(each, count)]);
      points.push([end, points.at(-1)[1]]);
      return points.map(([second, amount]) => `${x(second)},${y(amount)}`);
    };
    const areas = names.map((name, index) => s("polygon", {
      points: [...edge(index + 1), ...edge(index).reverse()].join(" "), fill: colour(index), stroke: colour(index), "stroke-width": 0.5,
    }));
    const marks = [0, 0.5, 1].map((part) => {
      const amount = (most * BigInt(part * 2)) / 2n;
      return [s("line", { class: "axis", x1: left, x2: width - right, y1: y(amount), y2: y(amount) }),
        s("text", { x: left - 6, y: Number(y(amount)) + 4, "text-anchor": "end" }, dollars(amount))];
    });
    return drawing(width, height, `Cost over time, by service: ${dollars(total(sums))} after ${clock(end)}`,
      ...marks.flat(), ...areas,
      s("text", { x: left, y: height - 6 }, "0:00"),
      s("text", { x: width - right, y: height - 6, "text-anchor": "end" }, clock(end)));
  };
  const steps = Math.max(1, Math.ceil(states.length / 12));
  const shown = states.filter((_, index) => index % steps === 0 || index === states.length - 1);
  const rows = shown.map(([second, each]) => [clock(second), ...names.map((name) => dollars(each[name] ?? 0n)), dollars(total(each))]);
  return h("div", { class: "over-time" }, fitted(draw), legend(names.map((name, index) => [service(name), index])),
    figures("What each service had come to", ["At", ...names.map(service), "Together"], rows));
}

const STAGES = [
  ["end_of_turn_ms", "Your turn is over"], ["first_token_ms", "First word of the answer"],
  ["first_audio_ms", "First sound made"], ["first_frame_ms", "Sent"], ["audible_ms", "Heard at the phone"],
];

/** Where the time of each answer went. `turns`: [{index, latency}]. */
export function waterfall(turns) {
  const most = Math.max(1, ...turns.map((turn) => turn.latency.audible_ms));
  const draw = (width) => {
    const row = 26;
    const [left, right, top] = [58, 66, 4];
    const x = (value) => left + (Math.max(0, value) / most) * (width - left - right);
    const bars = turns.map((turn, line) => {
      const y = top + line * row;
      let from = 0;
      const pieces = STAGES.map(([stage, words], index) => {
        const to = Math.max(from, turn.latency[stage]);
        const title = s("title", {}, `${words}: ${ms(turn.latency[stage])}`);
        const wide = x(to) - x(from);
        const piece = s("rect", { x: x(from), y: y + 3, width: Math.max(3, wide), height: row - 10, fill: colour(index) }, title);
        from = to;
        return { wide, piece };
      });
      pieces.sort((one, other) => other.wide - one.wide); // what took no time is a line on top of the others
      return [s("text", { x: left - 6, y: y + 15, "text-anchor": "end" }, `Turn ${turn.index}`), ...pieces.map(({ piece }) => piece),
        s("text", { x: x(turn.latency.audible_ms) + 6, y: y + 15 }, ms(turn.latency.audible_ms))];
    });
    return drawing(width, top + row * turns.length + 4, "Latency of each answer, stage by stage", ...bars.flat());
  };
  const rows = turns.map((turn) => [`Turn ${turn.index}`, ...STAGES.map(([stage]) => ms(turn.latency[stage]))]);
  return h("div", { class: "waterfall" }, fitted(draw), legend(STAGES.map(([, words], index) => [words, index])),
    figures("Latency of each answer, after your last audible sound", ["Answer to", ...STAGES.map(([, words]) => words)], rows));
}

/** "2026-11-23" → "Nov 23", as the reader writes it. */
const dayInWords = (day) => new Date(`${day}T12:00Z`).toLocaleDateString(undefined, { day: "numeric", month: "short", timeZone: "UTC" });

/** What each day of the last month cost: bars. `days`: [{day, calls, usd}], days without calls left out; not all for nothing. */
export function spendByDay(days) {
  const height = 160;
  const [left, right, top, bottom] = [64, 8, 10, 24];
  const known = new Map(days.map((each) => [each.day, each]));
  const last = Date.parse(`${days.at(-1).day}T00:00:00Z`);
  const shown = Array.from({ length: 31 }, (_, index) => {
    const day = new Date(last - (30 - index) * 86_400_000).toISOString().slice(0, 10);
    return known.get(day) ?? { day, calls: 0, usd: "0.00" };
  });
  const most = shown.reduce((found, each) => (nanos(each.usd) > found ? nanos(each.usd) : found), 1n);
  const room = height - top - bottom;
  const draw = (width) => {
    const wide = (width - left - right) / shown.length;
    const bars = shown.map((each, index) => {
      const size = (Number((nanos(each.usd) * 1000n) / most) / 1000) * room;
      return s("rect", { x: left + index * wide, y: top + room - size, width: wide - 2, height: size, fill: colour(0) },
        s("title", {}, `${dayInWords(each.day)}: ${dollars(each.usd)}`));
    });
    const marks = [0n, 1n, 2n].map((half) => {
      const y = top + room - (Number(half) / 2) * room;
      return [s("line", { class: "axis", x1: left, x2: width - right, y1: y, y2: y }),
        s("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, dollars((most * half) / 2n))];
    });
    const dates = [0, 15, 30].map((index) => s("text", {
      x: index === 30 ? width - right : left + index * wide, y: height - 6, "text-anchor": index === 30 ? "end" : "start",
    }, dayInWords(shown[index].day)));
    return drawing(width, height, `Cost of each day, at most ${dollars(most)}`, ...marks.flat(), ...bars, ...dates);
  };
  return h("div", { class: "by-day" }, fitted(draw),
    unseen(h("table", {}, h("caption", {}, "Cost of each day"), h("tbody", {}, ...days.map((each) => h("tr", {}, h("th", { scope: "row" }, each.day), h("td", {}, `${each.calls} calls, ${dollars(each.usd)}`)))))));
}
