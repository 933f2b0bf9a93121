// The browser phone: microphone and speaker on one side, `WS /browser/media` on the other.

import { post, Problem } from "./api.js";

const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

/** Why a phone cannot be opened here, in words that say what to do. */
export class NoPhone extends Problem {
  constructor(detail) {
    super(0, { detail, code: "no_phone" });
  }
}

/** Make sure that there is a microphone and that it is allowed, before a call is placed. Raises `NoPhone`. */
export async function microphoneReady() {
  letGo(await microphone());
}

const letGo = (stream) => stream.getTracks().forEach((track) => track.stop());

/** Raises `NoPhone`. */
async function microphone() {
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
    throw new NoPhone("This browser gives pages no microphone here. Open the console over https, or at 127.0.0.1, in a current browser.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE });
  } catch (error) {
    if (error.name === "NotAllowedError") {
      throw new NoPhone("The microphone is not allowed. Allow it for this page in the browser's address bar, then try again.");
    }
    if (error.name === "NotFoundError") throw new NoPhone("There is no microphone. Plug one in, then try again.");
    throw new NoPhone("The microphone cannot be used just now. Close other programs that use it, then try again.");
  }
}

/**
 * A phone on one call. `on.level(heard, spoken)` is told how loud both sides are (0..1), `on.state(word)` "connecting",
 * "open", "closed", `on.gone(problem)` that the microphone was taken away. Nothing is sent before `connect`.
 */
export class BrowserPhone {
  constructor(callId, on) {
    this.callId = callId;
    this.on = on;
    this.muted = false;
    this.heard = 0;
    this.spoken = 0;
  }

  /** Raises `NoPhone`, or a `Problem` when the call takes no browser. */
  async connect() {
    this.on.state("connecting");
    this.stream = await microphone();
    for (const track of this.stream.getTracks()) track.onended = () => this.unplugged();
    this.audio = new AudioContext({ latencyHint: "interactive" });
    await this.audio.audioWorklet.addModule("/static/js/phone-worklet.js");
    this.node = new AudioWorkletNode(this.audio, "phone", { outputChannelCount: [1], processorOptions: { muted: this.muted } });
    this.node.port.onmessage = ({ data }) => this.fromWorklet(data);
    this.audio.createMediaStreamSource(this.stream).connect(this.node);
    this.node.connect(this.audio.destination);
    await this.audio.resume();
    const { ticket, url } = await post(`/api/calls/${encodeURIComponent(this.callId)}/ticket`);
    const socket = (this.socket = new WebSocket(here(url)));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      socket.send(JSON.stringify({ ticket }));
      this.on.state("open");
    };
    socket.onmessage = ({ data }) => this.fromServer(data);
    socket.onclose = () => {
      if (this.socket === socket) this.release();
    };
  }

  fromWorklet({ frame, level, played, speaks }) {
    if (frame !== undefined) {
      this.heard = level;
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(frame);
    } else if (played !== undefined) {
      if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ played }));
    } else {
      this.spoken = speaks;
      this.on.level(this.heard, this.spoken);
    }
  }

  fromServer(data) {
    if (typeof data === "string") {
      this.node.port.postMessage({ clear: true });
      return;
    }
    const chunk = new DataView(data).getUint32(0);
    this.node.port.postMessage({ chunk, sound: new Uint8Array(data, 4) });
  }

  mute(muted) {
    this.muted = muted;
    this.node?.port.postMessage({ muted });
  }

  hangUp() {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ bye: true }));
    else this.release();
  }

  /** A phone that hears nothing is put down, so that nobody talks to it; the call waits for it to come back. */
  unplugged() {
    this.release();
    this.on.gone(new NoPhone("The microphone is gone. Plug it in or allow it again, then pick up: the call waits for you a few seconds."));
  }

  /** Lets go of all of it, also of a socket that is only being opened. */
  release() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    if (this.stream) letGo(this.stream);
    if (this.audio && this.audio.state !== "closed") this.audio.close();
    this.on.state("closed");
  }
}

/** The socket's address under the name this page was opened with: the same server has several on loopback. */
function here(url) {
  const made = new URL(url);
  made.host = location.host;
  return made.href;
}
