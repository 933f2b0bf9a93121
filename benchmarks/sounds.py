"""What comes down the line while the agent speaks: sounds that should stop it and sounds that should not.

Made by code, the same bytes every time on one machine type: words by the local voice engine at pitches,
colours and paces no persona has, everything else from noise and tones. All goes through a telephone's band,
with line noise, and most of it with the echo of the agent, who speaks throughout. `first` is where the sound
itself begins, before echo and noise are added, and is what delays are counted from.

Two sets of other voices, seeds and sentences: rules are chosen by looking at one, figures come from the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks import noises
from pipeline.audio import mulaw
from pipeline.engines.local.hibari import TIMBRES, HibariModel, Timbre, clauses

FRAME = mulaw.FRAME
TAIL_MS = 1_000
LINE_NOISE_DB = -61.0
ECHO_DB = -20.0
AUDIBLE_DB = -26.0
"""Against its loudest frame: where a sound begins and ends."""
FAINTEST_DB = -52.0
"""Nothing softer is heard: that is 9 dB above the noise of the line."""
LOW_HERTZ, HIGH_HERTZ = 300.0, 3_400.0

Floats = NDArray[np.float32]

WORDS = (
    "Wait, sorry, can I ask you something else?",
    "Hello?",
    "Mmm, no wait.",
    "No.",
    "Hang on a second.",
    "What did you say?",
    "Stop.",
    "Sorry, I didn't catch that.",
    "Can I say something?",
    "Actually, I have a question.",
    "Excuse me.",
    "But I already told you that.",
    "Who is this?",
    "I can't hear you.",
    "That's not what I meant.",
    "Please slow down a bit.",
    "Hey, listen.",
    "Um, one second.",
    "Yes, but when?",
    "My sister is here now.",
    "How much is it?",
    "One moment please.",
    "Never mind, go on.",
    "You know, I was thinking.",
    "Let me tell you something.",
    "Where are you calling from?",
    "Tell me about the bakery.",
    "Listen to me for a second.",
    "I have to go now.",
)
MURMURS = (
    "Mm-hmm.",
    "Mhm.",
    "Mm.",
    "Hmm.",
    "Uh-huh.",
    "Huh.",
    "Oh.",
    "Ah.",
    "Yeah.",
    "Yes.",
    "Okay.",
    "Right.",
)
"""What people say while they listen."""

SPOKEN = (
    "That sounds like a good idea, what will you do about it then? Tell me more, I would love to know.",
    "I remember you told me about the bakery, and I was wondering how the first week has been for you.",
    "Well, nobody is born knowing that. Take your time, write down three things, and we go through them.",
)
"""What the agent says meanwhile."""

CALLERS = {
    "tuning": (
        Timbre(0.80, 0.80, 1.0),
        Timbre(0.88, 0.62, 1.1),
        Timbre(0.93, 0.68, 1.0),
        Timbre(1.00, 1.00, 0.9),
        Timbre(1.05, 1.12, 1.0),
        Timbre(1.14, 1.20, 1.15),
        Timbre(1.20, 0.95, 1.05),
    ),
    "measuring": (
        Timbre(0.83, 0.68, 1.08),
        Timbre(0.90, 0.84, 0.92),
        Timbre(0.97, 0.72, 1.12),
        Timbre(1.02, 1.10, 1.0),
        Timbre(1.08, 0.92, 1.05),
        Timbre(1.16, 1.08, 0.95),
        Timbre(1.22, 1.22, 1.1),
    ),
}
SEEDS = {"tuning": 11, "measuring": 4_242}
LEVELS_DB = (-18.0, -20.0, -22.0, -24.0, -26.0, -29.0, -32.0)
"""Of the caller's voiced sound, under full scale. The agent's is at -19."""


@dataclass(frozen=True, slots=True)
class Clip:
    """The caller's side in whole frames, and what the agent has to say meanwhile.

    `first` is the frame in which the sound begins, `last` the one in which it ends. What comes back of the
    agent's voice is `returned`, `delay` samples after it was played; it is not in `caller`, for how long the
    agent speaks is up to the listener.
    """

    kind: str
    name: str
    interrupts: bool
    caller: Floats
    agent: bytes
    returned: Floats
    delay: int
    first: int
    last: int


def db(level: float) -> float:
    """Decibels as a factor."""
    return float(10.0 ** (level / 20))


def band(sound: Floats) -> Floats:
    """Through a telephone's band; the slopes are 50 and 300 Hz wide, as a brick wall would ring."""
    spectrum = np.fft.rfft(sound)
    hertz = np.fft.rfftfreq(len(sound), 1 / mulaw.RATE)
    slope = np.clip((hertz - LOW_HERTZ + 50) / 50, 0, 1) * np.clip((HIGH_HERTZ + 300 - hertz) / 300, 0, 1)
    return np.fft.irfft(spectrum * slope, len(sound)).astype(np.float32)


def levelled(sound: Floats, level_db: float) -> Floats:
    """At a loudness, measured where it sounds at all."""
    loud = sound[np.abs(sound) > 0.02 * np.abs(sound).max(initial=1e-9)]
    return sound * np.float32(db(level_db) / max(1e-9, float(np.sqrt(np.mean(np.square(loud))))))


class Studio:
    """Makes the clips of one set."""

    def __init__(self, which: str, model: HibariModel) -> None:
        self._model = model
        self._noise = np.random.default_rng(SEEDS[which])
        self._callers = CALLERS[which]
        self._agents: list[Floats] = []
        for number, timbre in enumerate(TIMBRES.values()):
            text = SPOKEN[(number + (which == "tuning")) % len(SPOKEN)]
            self._agents.append(self._say(text, timbre))

    def clips(self) -> Iterator[Clip]:
        yield from self._texts("words", WORDS, interrupts=True)
        yield from self._texts("murmur", MURMURS, interrupts=False)
        for kind, sounds in noises.every(self._noise):
            for number, sound in enumerate(sounds):
                yield self._clip(kind, f"{kind} {number}", band(sound), echoes=number % 2 == 0)
        for number in range(48):
            quiet = np.zeros(6 * mulaw.RATE, np.float32)
            hiss_db = LINE_NOISE_DB if number % 3 else -46.0
            yield self._clip("echo", f"echo {number}", quiet, echoes=True, hiss_db=hiss_db)

    def _texts(self, kind: str, texts: Sequence[str], *, interrupts: bool) -> Iterator[Clip]:
        for row, text in enumerate(texts):
            for column, timbre in enumerate(self._callers):
                level = LEVELS_DB[(row + 3 * column) % len(LEVELS_DB)]
                sound = levelled(band(self._say(text, timbre)), level)
                name = f"{text} at {level:.0f} dB, voice {column}"
                # Every other line brings the agent's echo back.
                yield self._clip(kind, name, sound, echoes=(row + column) % 2 > 0, interrupts=interrupts)

    def _say(self, text: str, timbre: Timbre) -> Floats:
        pause = mulaw.silence(180)
        spoken = pause.join(self._model.speak(clause, timbre) for clause in clauses(text))
        return mulaw.to_float(mulaw.decode(spoken))

    def _clip(
        self,
        kind: str,
        name: str,
        sound: Floats,
        *,
        echoes: bool,
        interrupts: bool = False,
        hiss_db: float = LINE_NOISE_DB,
    ) -> Clip:
        """The sound at a place of its own against frames and windows, into a voice that goes on."""
        lead = int(self._noise.integers(2_400 * 8, 2_900 * 8))
        length = -(-(lead + len(sound) + TAIL_MS * 8) // FRAME) * FRAME
        clean = np.zeros(length, np.float32)
        clean[lead : lead + len(sound)] = sound
        agent = self._agent(length)
        line = np.float32(db(hiss_db)) * self._noise.standard_normal(length).astype(np.float32)
        returned = np.float32(db(ECHO_DB)) * band(agent) if echoes else np.zeros(length, np.float32)
        return Clip(
            kind,
            name,
            interrupts,
            clean + line,
            mulaw.encode(mulaw.from_float(agent)),
            returned,
            int(self._noise.integers(200 * 8)) if echoes else 0,
            *_span(clean),
        )

    def _agent(self, length: int) -> Floats:
        """The agent in mid-sentence, from a place of its own."""
        voice = self._agents[int(self._noise.integers(len(self._agents)))]
        start = int(self._noise.integers(len(voice)))
        return np.resize(np.roll(voice, -start), length).astype(np.float32)


def _span(clean: Floats) -> tuple[int, int]:
    """The first and the last frame that can be heard."""
    power = np.sqrt(np.mean(np.square(clean.reshape(-1, FRAME)), axis=1))
    heard = np.flatnonzero(power > max(db(FAINTEST_DB), db(AUDIBLE_DB) * float(power.max())))
    return (int(heard[0]), int(heard[-1])) if len(heard) else (0, len(power) - 1)


def make(which: str = "measuring") -> list[Clip]:
    """Every clip of a set, "measuring" or "tuning". Blocking; a few seconds."""
    return list(Studio(which, HibariModel.load()).clips())
