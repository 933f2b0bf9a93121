// A call as it happens: server-sent events read with `fetch`, since the token must not stand in an address.

import { send } from "./api.js";

const AGAIN_MS = [500, 1000, 2000, 4000, 8000];

/**
 * Listen to a call until it has ended. `on(kind, data, id)` is told each event once, in order;
 * `link(state)` is told "open" and "lost". Goes on after the last event when the connection breaks.
 * Returns when the call is over; raises a `Problem` that will not pass by itself.
 */
export async function listen(callId, on, { link = () => {}, signal = undefined } = {}) {
  let last = 0;
  let tries = 0;
  while (!signal?.aborted) {
    try {
      const headers = last ? { "last-event-id": String(last) } : {};
      const response = await send("GET", `/api/calls/${encodeURIComponent(callId)}/events`, undefined, { headers, signal });
      link("open");
      tries = 0;
      for await (const event of parsed(response.body)) {
        if (event.id) last = event.id;
        on(event.kind, event.data, event.id);
        if (event.kind === "ended") return;
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      const passing = error.status === 0 || error.status >= 500 || error.status === undefined;
      if (!passing) throw error;
    }
    link("lost");
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS[Math.min(tries++, AGAIN_MS.length - 1)]));
  }
}

/** The events of one stream (HTML standard, section 9.2.6), as far as this server uses them. */
async function* parsed(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { id: 0, kind: "message", data: null };
      for (const line of block.split("\n")) {
        if (line.startsWith("id: ")) event.id = Number(line.slice(4));
        else if (line.startsWith("event: ")) event.kind = line.slice(7);
        else if (line.startsWith("data: ")) event.data = JSON.parse(line.slice(6));
      }
      if (event.data !== null) yield event;
    }
  }
}
