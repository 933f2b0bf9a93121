"""The person at the other end of a simulated call, as a script.

Decides when they answer, speak, interrupt, press a key and hang up, from nothing but the
sound they are played; knows no clock, socket or carrier. Fed 20 ms at a time, so the same
script and the same sound always give the same call.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.audio.mulaw import is_loud

FRAME_BYTES = 160
FRAME_MS = 20
SILENCE = b"\xff" * FRAME_BYTES
"""20 ms of nothing in mu-law."""

_PAUSE_MS = 300
"""Quiet that ends a stretch of sound; the gaps inside a sentence are shorter."""


# -- the script ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """Picks up after ringing this long."""

    after_ms: int = 2_000


@dataclass(frozen=True, slots=True)
class Busy:
    after_ms: int = 500


@dataclass(frozen=True, slots=True)
class Reject:
    """Presses the red button after ringing this long."""

    after_ms: int = 1_500


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Lets it ring until the carrier gives up."""


Outcome = Answer | Busy | Reject | NoAnswer


@dataclass(frozen=True, slots=True)
class Speak:
    """Says this once the agent has spoken since the last act and then been quiet so long.

    `after_quiet_ms=0` speaks at once. After `patience_ms` without an agent it speaks anyway.
    """

    mulaw: bytes
    after_quiet_ms: int = 700
    patience_ms: int = 20_000


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Says this so long after the agent began to speak, into its voice."""

    mulaw: bytes
    after_agent_ms: int = 1_000
    patience_ms: int = 20_000


@dataclass(frozen=True, slots=True)
class Silence:
    ms: int


@dataclass(frozen=True, slots=True)
class Press:
    """One key: 0-9 * #."""

    digit: str


@dataclass(frozen=True, slots=True)
class HangUp:
    pass


@dataclass(frozen=True, slots=True)
class Vanish:
    """The media socket breaks without a word, as when the carrier's machine dies."""


Act = Speak | Interrupt | Silence | Press | HangUp | Vanish


@dataclass(frozen=True, slots=True)
class Machine:
    """What the carrier's answering machine detection will say, and how long after the answer."""

    kind: str = "human"
    after_ms: int = 1_600


@dataclass(frozen=True, slots=True)
class Script:
    """One call from the callee's side. After its last act they stay on the line and say nothing."""

    outcome: Outcome = Answer()
    acts: tuple[Act, ...] = ()
    machine: Machine = Machine()
    keys: tuple[str | HangUp, ...] = ()
    """What is keyed in at each menu, "" for nothing; at those that follow nothing either."""


# -- hearing -----------------------------------------------------------------------------


class Stretches:
    """When one voice sounded, in milliseconds since the first frame of the call's sound."""

    def __init__(self) -> None:
        self.finished: list[tuple[int, int]] = []
        self.began: int | None = None
        """Start of the stretch going on now, None while quiet."""
        self.ended = 0
        """End of the last loud frame."""

    def feed(self, at_ms: int, frame: bytes) -> None:
        """One frame that starts at `at_ms`; empty for silence."""
        if frame and is_loud(frame):
            if self.began is None:
                self.began = at_ms
            self.ended = at_ms + FRAME_MS
        elif self.began is not None and at_ms + FRAME_MS - self.ended >= _PAUSE_MS:
            self.finished.append((self.began, self.ended))
            self.began = None

    def all(self) -> list[tuple[int, int]]:
        """Every stretch so far, the one going on now included."""
        return self.finished if self.began is None else [*self.finished, (self.began, self.ended)]


# -- the person ----------------------------------------------------------------------------


class Callee:
    """A script being acted. `step` is called every 20 ms while the media stream runs."""

    def __init__(self, script: Script, *, keep_audio: bool = True) -> None:
        self.script = script
        self.heard = bytearray()
        """The agent as played, from the first frame on; mu-law, silence included."""
        self.said = bytearray()
        """The callee, on the same time line."""
        self.agent = Stretches()
        self.own = Stretches()
        self.at_ms = 0
        self._keep = keep_audio
        self._acts = list(reversed(script.acts))
        self._since = 0  # when the current act became the current one
        self._voice = b""
        self._spoken = 0

    def step(self, agent: bytes) -> bytes | Press | HangUp | Vanish:
        """Hear 20 ms of the agent (empty for silence); give 20 ms of one's own, or do something."""
        done = self._act(agent)
        sound = done if isinstance(done, bytes) else SILENCE
        self.own.feed(self.at_ms, b"" if sound is SILENCE else sound)
        if self._keep:
            self.heard += agent.ljust(FRAME_BYTES, b"\xff") if agent else SILENCE
            self.said += sound
        self.at_ms += FRAME_MS
        return done

    def latencies_ms(self) -> list[int]:
        """From the end of each thing the callee said to the first sound of the answer.

        What was said into the agent's voice, or got no answer before the callee went on, is left out.
        """
        mine, theirs = self.own.all(), self.agent.all()
        answers = []
        for index, (_, ended) in enumerate(mine):
            limit = mine[index + 1][0] if index + 1 < len(mine) else self.at_ms
            talking = any(began < ended < until for began, until in theirs)
            onset = next((began for began, _ in theirs if ended <= began < limit), None)
            if onset is not None and not talking:
                answers.append(onset - ended)
        return answers

    def _act(self, agent: bytes) -> bytes | Press | HangUp | Vanish:
        self.agent.feed(self.at_ms, agent)
        if self._voice:
            return self._speak()
        if not self._acts:
            return SILENCE
        act = self._acts[-1]
        if isinstance(act, Speak | Interrupt):
            if self._due(act):
                self._voice = act.mulaw
                return self._speak()
            return SILENCE
        if isinstance(act, Silence):
            if self.at_ms + FRAME_MS - self._since >= act.ms:
                self._next()
            return SILENCE
        self._next()
        return act

    def _due(self, act: Speak | Interrupt) -> bool:
        if self.at_ms - self._since >= act.patience_ms:
            return True
        talking, last = self.agent.began, self.agent.ended
        if isinstance(act, Interrupt):
            return talking is not None and self.at_ms - talking >= act.after_agent_ms
        if act.after_quiet_ms <= 0:
            return True
        return last > self._since and self.at_ms + FRAME_MS - last >= act.after_quiet_ms

    def _speak(self) -> bytes:
        frame = self._voice[self._spoken : self._spoken + FRAME_BYTES]
        self._spoken += FRAME_BYTES
        if self._spoken >= len(self._voice):
            self._voice, self._spoken = b"", 0
            self._next()
        return frame.ljust(FRAME_BYTES, b"\xff") if frame else SILENCE

    def _next(self) -> None:
        self._acts.pop()
        self._since = self.at_ms + FRAME_MS
