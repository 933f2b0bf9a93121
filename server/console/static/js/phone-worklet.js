// The telephone inside the audio thread: the microphone becomes 20 ms frames of 8 kHz mu-law, chunks of mu-law become
// sound. Runs in an AudioWorkletGlobalScope, which has nothing of the page; both sides talk through the port:
//
//   to the page:  {frame, level}: 160 bytes and how loud they are (0..1) · {played: chunk} · {speaks: level}
//   from it:      {chunk, sound} · {clear: true} · {muted: bool}

const PHONE_RATE = 8000;
const FRAME = 160;
const TAPS = 32; // of the filter on each side, in samples of the slower rate
const FINE = 256; // points of the filter between two of those samples; between two points it is a straight line
const PASSED = 0.94; // of the band that the slower rate can carry

/** The windowed sinc from its middle to its end, worked out once: the audio thread has less than 3 ms for a block. */
const FILTER = Float32Array.from({ length: TAPS * FINE + 2 }, (_, point) => {
  const off = Math.min(TAPS, point / FINE);
  const x = Math.PI * off * PASSED;
  return (off === 0 ? 1 : Math.sin(x) / x) * (0.5 + 0.5 * Math.cos((Math.PI * off) / TAPS));
});

/** One mu-law byte as a sample within ±1 (ITU-T G.711). */
function decoded(byte) {
  const code = ~byte & 0xff;
  const size = (((code & 0x0f) << 3) + 0x84) << ((code & 0x70) >> 4);
  const sample = (size - 0x84) / 32768;
  return code & 0x80 ? -sample : sample;
}

/** A sample within ±1 as its mu-law byte. */
function encoded(sample) {
  const sign = sample < 0 ? 0x80 : 0;
  const size = Math.min(32635, Math.round(Math.abs(sample) * 32768)) + 0x84;
  const exponent = 31 - Math.clz32(size) - 7;
  return ~(sign | (exponent << 4) | ((size >> (exponent + 3)) & 0x0f)) & 0xff;
}

/** From one rate to another through a windowed-sinc filter; any ratio, sample by sample, no gaps between blocks. */
class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.points = FINE * Math.min(1, to / from); // of the filter, in a sample that goes in
    this.reach = Math.floor((TAPS * FINE) / this.points);
    this.kept = new Float32Array(0);
    this.at = 0; // of the next sample to make, within `kept`
  }

  /** The samples that can be made now that these have come. */
  take(samples) {
    const all = new Float32Array(this.kept.length + samples.length);
    all.set(this.kept);
    all.set(samples, this.kept.length);
    const made = [];
    while (this.at + this.reach < all.length) {
      made.push(this.sample(all, this.at));
      this.at += this.step;
    }
    const spare = Math.max(0, Math.floor(this.at) - this.reach);
    this.kept = all.slice(spare);
    this.at -= spare;
    return made;
  }

  sample(all, at) {
    const first = Math.max(0, Math.ceil(at - this.reach));
    const last = Math.min(all.length - 1, Math.floor(at + this.reach));
    let sum = 0;
    let weights = 0;
    for (let index = first; index <= last; index += 1) {
      const point = Math.abs(index - at) * this.points;
      const whole = Math.floor(point);
      const weight = FILTER[whole] + (FILTER[whole + 1] - FILTER[whole]) * (point - whole);
      sum += all[index] * weight;
      weights += weight;
    }
    return sum / weights;
  }
}

class Phone extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.down = new Resampler(sampleRate, PHONE_RATE);
    this.up = new Resampler(PHONE_RATE, sampleRate);
    this.frame = new Uint8Array(FRAME);
    this.filled = 0;
    this.loudness = 0;
    this.muted = options?.processorOptions?.muted ?? false;
    this.queue = []; // {chunk, sound, done}: of the first one so many bytes are under way
    this.ready = []; // samples at the device's rate, not played yet
    this.ends = []; // {chunk, after}: how many samples from now a chunk has been played
    this.blocks = 0;
    this.port.onmessage = ({ data }) => this.told(data);
  }

  told(data) {
    if (data.clear) {
      for (const { chunk } of [...this.ends, ...this.queue]) this.port.postMessage({ played: chunk });
      this.queue = [];
      this.ends = [];
      this.ready = [];
      this.up = new Resampler(PHONE_RATE, sampleRate);
    } else if (data.sound) {
      this.queue.push({ chunk: data.chunk, sound: data.sound, done: 0 });
    } else {
      this.muted = data.muted;
    }
  }

  process(inputs, outputs) {
    if (inputs[0].length > 0) this.listen(inputs[0][0]);
    this.speak(outputs[0][0]);
    for (const channel of outputs[0].slice(1)) channel.set(outputs[0][0]);
    return true;
  }

  listen(samples) {
    for (const sample of this.down.take(samples)) {
      const heard = this.muted ? 0 : sample;
      this.loudness = Math.max(this.loudness, Math.abs(heard));
      this.frame[this.filled] = encoded(heard);
      this.filled += 1;
      if (this.filled === FRAME) {
        this.port.postMessage({ frame: this.frame.slice(), level: this.loudness });
        this.filled = 0;
        this.loudness = 0;
      }
    }
  }

  /** Makes the next 20 ms of what is queued: a whole chunk at once would take longer than a block may. */
  prepare() {
    const [first] = this.queue;
    const sound = first.sound.subarray(first.done, first.done + FRAME);
    for (const sample of this.up.take(Float32Array.from(sound, decoded))) this.ready.push(sample);
    first.done += FRAME;
    if (first.done < first.sound.length) return;
    this.queue.shift();
    this.ends.push({ chunk: first.chunk, after: this.ready.length });
  }

  speak(out) {
    while (this.ready.length < out.length && this.queue.length > 0) this.prepare();
    if (this.ready.length < out.length && this.queue.length === 0 && this.ends.length > 0) {
      // What the filter still holds back is the last of it.
      for (const sample of this.up.take(new Float32Array(2 * TAPS))) this.ready.push(sample);
    }
    const played = Math.min(out.length, this.ready.length);
    let loudest = 0;
    for (let index = 0; index < out.length; index += 1) {
      out[index] = index < played ? this.ready[index] : 0;
      loudest = Math.max(loudest, Math.abs(out[index]));
    }
    this.ready.splice(0, played);
    for (const end of this.ends) end.after -= out.length;
    while (this.ends.length > 0 && this.ends[0].after <= 0) this.port.postMessage({ played: this.ends.shift().chunk });
    this.blocks += 1;
    if (this.blocks % 16 === 0) this.port.postMessage({ speaks: loudest });
  }
}

registerProcessor("phone", Phone);
