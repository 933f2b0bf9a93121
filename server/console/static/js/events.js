// A call as it happens: server-sent events read with `fetch`, since the token must not stand in an address.

import { send } from "./api.js";

const AGAIN_MS = [500, 1000, 2000, 4000, 8000];
const SILENCE_MS = 20_000; // the server says something every five seconds

/**
 * Listen to a call until it has ended. `on(kind, data)` is told each event once, in order;
 * `link(state)` is told "open" and "lost". Goes on after the last event when the connection breaks, or is dead without
 * having broken, as after a sleep or in another network.
 * Returns when the call is over; raises a `Problem` that will not pass by itself.
 */
export async function listen(callId, on, { link = () => {} } = {}) {
  let last = 0;
  let tries = 0;
  while (true) {
    const line = new AbortController();
    let silence;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => line.abort(), SILENCE_MS);
    };
    try {
      heard();
      const headers = last ? { "last-event-id": String(last) } : {};
      const response = await send("GET", `/api/calls/${encodeURIComponent(callId)}/events`, undefined, { headers, signal: line.signal });
      link("open");
      for await (const event of parsed(response.body, heard)) {
        tries = 0; // a connection that brings nothing is not worth hurrying for
        if (event.id) last = event.id;
        on(event.kind, event.data);
        if (event.kind === "ended") return;
      }
    } catch (error) {
      if (!passing(error)) throw error;
    } finally {
      clearTimeout(silence);
    }
    link("lost");
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS[Math.min(tries++, AGAIN_MS.length - 1)]));
  }
}

/** Whether a later try may go better: all that is no answer, and answers that say so. */
const passing = ({ status }) => !status || status >= 500 || status === 429;

/** The events of one stream (HTML standard, section 9.2.6), as far as this server uses them. `heard` is told of every sign of life. */
async function* parsed(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
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
