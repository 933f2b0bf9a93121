// A recorded call as a picture that plays: the person above, the persona below, turns and interruptions over it.

import { h, s } from "./dom.js";
import { clock } from "./format.js";

const WIDTH = 1000;
const HALF = 50;
const COLUMNS = 500;

/** Peaks of both channels of a 16-bit stereo WAV, and how many seconds it lasts. Raises `Error` for any other file. */
export function peaks(buffer) {
  const view = new DataView(buffer);
  let at = 12;
  let rate = 0;
  while (at + 8 <= view.byteLength) {
    const name = String.fromCharCode(view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2), view.getUint8(at + 3));
    const size = view.getUint32(at + 4, true);
    if (name === "fmt ") {
      if (view.getUint16(at + 8, true) !== 1 || view.getUint16(at + 10, true) !== 2) throw new Error("not 16-bit stereo");
      rate = view.getUint32(at + 12, true);
    }
    if (name === "data") return measured(new Int16Array(buffer, at + 8, Math.floor(Math.min(size, view.byteLength - at - 8) / 4) * 2), rate);
    at += 8 + size + (size % 2);
  }
  throw new Error("no sound in it");
}

function measured(samples, rate) {
  const frames = samples.length / 2;
  const both = [new Float32Array(COLUMNS), new Float32Array(COLUMNS)];
  for (let frame = 0; frame < frames; frame += 1) {
    const column = Math.min(COLUMNS - 1, Math.floor((frame / frames) * COLUMNS));
    for (const channel of [0, 1]) {
      both[channel][column] = Math.max(both[channel][column], Math.abs(samples[2 * frame + channel]) / 32768);
    }
  }
  return { left: both[0], right: both[1], seconds: frames / rate };
}

function outline(loud, upwards) {
  const step = WIDTH / COLUMNS;
  const tips = [...loud].map((level, index) => `${(index * step).toFixed(1)},${(HALF + (upwards ? -1 : 1) * Math.sqrt(level) * (HALF - 4)).toFixed(1)}`);
  return `0,${HALF} ${tips.join(" ")} ${WIDTH},${HALF}`;
}

/** The player. `onTime(seconds)` is told where it is. `zero_ms`: when the recording began on the clock of the turns. */
export function player(buffer, turns, { zero = 0, onTime = () => {} } = {}) {
  const { left, right, seconds } = peaks(buffer);
  const x = (milliseconds) => (Math.min(seconds, Math.max(0, (milliseconds - zero) / 1000)) / seconds) * WIDTH;
  const cursor = s("line", { x1: 0, x2: 0, y1: 0, y2: 2 * HALF, stroke: "var(--text)", "stroke-width": 2 });
  const spans = turns.map((turn) => s("rect", {
    x: x(turn.started_ms), width: Math.max(1, x(turn.ended_ms) - x(turn.started_ms)), y: turn.role === "agent" ? HALF : 0, height: HALF,
    fill: turn.role === "agent" ? "var(--agent)" : "var(--person)", opacity: 0.12,
  }));
  const cuts = turns.filter((turn) => turn.interrupted).map((turn) => s("path", {
    d: `M${x(turn.ended_ms)} ${2 * HALF} l-6 -12 h12 z`, fill: "var(--warm)",
  }, s("title", {}, "interrupted here")));
  const picture = s("svg", { class: "chart wave", viewBox: `0 0 ${WIDTH} ${2 * HALF}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    ...spans,
    s("polygon", { points: outline(left, true), fill: "var(--person)" }),
    s("polygon", { points: outline(right, false), fill: "var(--agent)" }),
    ...cuts, cursor);
  const audio = h("audio", { controls: true, preload: "auto", "aria-label": "Recording of the call" });
  audio.src = URL.createObjectURL(new Blob([buffer], { type: "audio/wav" }));
  const show = () => {
    const at = (audio.currentTime / seconds) * WIDTH;
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    onTime(audio.currentTime * 1000 + zero);
  };
  audio.addEventListener("timeupdate", show);
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    audio.currentTime = ((event.clientX - box.left) / box.width) * seconds;
  });
  const element = h("figure", {}, picture, h("figcaption", { class: "small soft" }, `You above, the persona below; ${clock(seconds)} in all. Choose a place to hear it.`), audio);
  return { element, seek: (milliseconds) => { audio.currentTime = Math.max(0, (milliseconds - zero) / 1000); audio.play(); } };
}
