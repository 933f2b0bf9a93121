// The browser as the phone of a call: picked up, muted, put down; and how loud both sides are.

import { busy, h } from "./dom.js";
import { Problem } from "./api.js";
import { BrowserPhone } from "./phone.js";
import { tell } from "./shell.js";

const STATES = { connecting: "Connecting…", open: "You are on the phone. Speak as you would.", closed: "The phone is down." };

function meter(label) {
  const level = h("span", {});
  const element = h("div", {}, h("p", { class: "small soft" }, label), h("div", { class: "bar" }, level));
  return { element, show: (loud) => level.style.setProperty("width", `${Math.min(100, Math.round(loud * 160))}%`) };
}

export class PhoneCard {
  constructor(callId, personaName) {
    this.over = false;
    this.state = h("p", { role: "status" }, "Your browser is the phone of this call.");
    this.pickUp = h("button", { type: "button" }, "Pick up");
    this.mute = h("button", { type: "button", class: "second", "aria-pressed": "false", hidden: true }, "Mute");
    const me = meter("You");
    const persona = meter(personaName);
    this.meters = h("div", { class: "meters", hidden: true }, me.element, persona.element);
    this.element = h("section", { class: "card", "aria-label": "Browser phone" }, h("h2", {}, "Browser phone"), this.state, this.meters);
    this.phone = new BrowserPhone(callId, {
      level: (heard, spoken) => { me.show(heard); persona.show(spoken); },
      state: (word) => this.show(word),
      gone: (problem) => tell(problem),
    });
    this.pickUp.addEventListener("click", () => this.connect());
    this.mute.addEventListener("click", () => {
      this.phone.mute(!this.phone.muted);
      this.mute.setAttribute("aria-pressed", String(this.phone.muted));
      this.mute.textContent = this.phone.muted ? "Unmute" : "Mute";
    });
  }

  /** What belongs beside *Hang up*. */
  get buttons() {
    return [this.pickUp, this.mute];
  }

  get open() {
    return this.element.dataset.phone === "open";
  }

  show(word) {
    this.element.dataset.phone = word;
    this.state.textContent = STATES[word];
    this.mute.hidden = this.meters.hidden = word !== "open";
    this.pickUp.hidden = this.over || word !== "closed";
  }

  connect() {
    return busy(this.pickUp, async () => {
      try {
        await this.phone.connect();
      } catch (error) {
        this.phone.release();
        if (!(error instanceof Problem)) throw error;
        if (!this.over) tell(error); // else it ended while the microphone was asked for, which is told already
      }
    });
  }

  /** The call has ended: there is nothing to pick up any more. */
  end() {
    this.over = true;
    this.phone.release();
  }
}
