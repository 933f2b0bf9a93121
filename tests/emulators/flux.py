"""Deepgram Flux (v2/listen) on 127.0.0.1, and the catalogue of how it may misbehave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tests.emulators.deepgram import (
    FRAME_MS,
    HANDSHAKES,
    KEY,
    REQUEST_ID,
    Act,
    Emulator,
    Fault,
    Moment,
    Outcome,
    Plan,
    Record,
    Session,
    Wire,
    check_parameters,
    fault,
    within,
)

__all__ = ["FAULTS", "KEY", "FluxEmulator", "Outcome", "Plan"]

BOOLEANS = ("true", "false")
KNOWN: Final[Mapping[str, Sequence[str] | None]] = {
    "model": ("flux-general-en", "flux-general-multi"),
    "encoding": ("linear16", "linear32", "mulaw", "alaw", "opus", "ogg-opus"),
    "sample_rate": ("8000", "16000", "24000", "44100", "48000"),
    "eot_threshold": None,
    "eager_eot_threshold": None,
    "eot_timeout_ms": None,
    "keyterm": None,
    "language_hint": None,
    "numerals": BOOLEANS,
    "profanity_filter": BOOLEANS,
    "redact": ("numbers", "aggressive_numbers"),
    "mip_opt_out": BOOLEANS,
    "tag": None,
}
REPEATABLE = ("keyterm", "language_hint", "tag", "redact")
RANGES = (
    ("eot_threshold", 0.5, 1.0),
    ("eager_eot_threshold", 0.3, 0.9),
    ("eot_timeout_ms", 500, 60_000),
)
IDLE_S = 60.0
ROUND_MS = 100
WORD_MS = 250
NOISE_MS = 300


class FluxEmulator(Emulator):
    """Ends a turn `eot_ms` after its last loud sound; `eager_ms` counts only if the client asks for eager ends."""

    path = "/v2/listen"

    def __init__(
        self,
        texts: Sequence[str] = (),
        plans: Sequence[Plan] = (),
        *,
        key: str = KEY,
        start_ms: int = 160,
        eot_ms: int = 400,
        eager_ms: int | None = 200,
        update_ms: int = 250,
        force_end_turn: bool = False,
        repeat: bool = False,
        continues: bool = True,
    ) -> None:
        super().__init__(texts, plans, key=key, repeat=repeat, continues=continues)
        self.start_ms = start_ms
        self.eot_ms = eot_ms
        self.eager_ms = eager_ms
        self.update_ms = update_ms
        self.force_end_turn = force_end_turn

    def session(self, wire: Wire, record: Record, plan: Plan) -> Session:
        return FluxSession(self, wire, record, plan)

    def refuses(self, query: Sequence[tuple[str, str]]) -> str:
        if wrong := check_parameters(query, KNOWN, REPEATABLE):
            return wrong
        given = dict(query)
        for needed in ("model", "encoding", "sample_rate"):
            if needed not in given:
                return f"{needed} is missing"
        for name, low, high in RANGES:
            if name in given and not within(given[name], low, high):
                return f"{name} is out of range"
        if float(given.get("eager_eot_threshold", 0)) > float(given.get("eot_threshold", 0.7)):
            return "eager_eot_threshold is above eot_threshold"
        if "language_hint" in given and given["model"] != "flux-general-multi":
            return "language_hint needs the multilingual model"
        return ""


class _Turn:
    """The turn that is open."""

    def __init__(self, text: str, began_ms: int, steps: Sequence[tuple[int, str, int]]) -> None:
        self.words = text.split()
        self.began_ms = began_ms
        self.steps = steps
        """What comes after so much silence: (ms, event, words that are missing yet)."""
        self.step = 0
        self.shown = min(1, len(self.words))
        self.awaiting = False

    def transcript(self, missing: int = 0) -> str:
        """All words of the turn but the last `missing`, at least one."""
        return " ".join(self.words[: max(min(1, len(self.words)), len(self.words) - missing)])

    @property
    def so_far(self) -> str:
        return " ".join(self.words[: self.shown])


class FluxSession(Session):
    emulator: FluxEmulator

    def __init__(self, emulator: FluxEmulator, wire: Wire, record: Record, plan: Plan) -> None:
        super().__init__(emulator, wire, record, plan)
        self._turn: _Turn | None = None
        self._index = 0
        self._loud_ms = 0
        self._quiet_ms = 0
        self._told_ms = 0
        """When the last event was told; updates fill the time between events."""
        self._noise = [] if plan.noise_at is None else [plan.noise_at * 1000, plan.noise_at * 1000 + NOISE_MS]
        """When a turn without words begins and ends."""
        self._counted = -1
        """Index of the last turn whose end was sent."""
        self._thresholds: dict[str, float | None] = {
            "eot_threshold": float(self.query.get("eot_threshold", 0.7)),
            "eager_eot_threshold": (
                float(self.query["eager_eot_threshold"]) if "eager_eot_threshold" in self.query else None
            ),
            "eot_timeout_ms": float(self.query.get("eot_timeout_ms", 5000)),
        }

    async def opened(self) -> None:
        await self.say(Moment.CONNECTED, {"type": "Connected", "request_id": REQUEST_ID})

    def numbered(self, message: Mapping[str, object]) -> Mapping[str, object]:
        number, self.sequence = self.sequence, self.sequence + 1
        return {**message, "sequence_id": number}

    def idle_s(self) -> float:
        return self.wire.alive_at + IDLE_S - self.wire.loop.time()

    async def idle(self) -> None:
        await self.close(1011, "NET-0001")

    async def unparsable(self) -> None:
        await self.send(
            {"type": "Error", "code": "UNPARSABLE_CLIENT_MESSAGE", "description": "Not understood."}
        )
        await self.close(1008, "")

    async def order(self, kind: str, message: Mapping[str, object]) -> bool:
        match kind:
            case "CloseStream":
                await self.close(1000, "")
            case "Configure":
                given = message.get("thresholds")
                if isinstance(given, dict):
                    self._thresholds.update(given)
                done = {"type": "ConfigureSuccess", "request_id": REQUEST_ID, "thresholds": self._thresholds}
                await self.send({**done, "keyterms": message.get("keyterms", [])})
            case "ForceEndTurn" if self.emulator.force_end_turn:
                if self._turn is not None:
                    await self._end(self._turn, "manual")
            case _:
                return False
        return True

    # -- turns -------------------------------------------------------------------------

    async def frame(self, loud: bool) -> None:
        if loud:
            self._loud_ms += FRAME_MS
            self._quiet_ms = 0
        else:
            self._quiet_ms += FRAME_MS
            if self._turn is None and self._quiet_ms >= self.emulator.eot_ms:
                self._loud_ms = 0
        if self._noise and self._turn is None:
            await self._noisy()
        elif self._turn is not None:
            await self._go_on(self._turn, loud)
        elif loud and self._loud_ms >= self.emulator.start_ms:
            self._turn = _Turn(self.emulator.text(self.record), self.at_ms, self._steps())
            await self._tell(Moment.START, "StartOfTurn", self._turn.so_far)
        if self.at_ms - self._told_ms >= self.emulator.update_ms:
            text = self._turn.so_far if self._turn is not None else ""
            await self._tell(Moment.UPDATE if self._turn else None, "Update", text)

    def _steps(self) -> list[tuple[int, str, int]]:
        """What a silence brings, in order."""
        plan, emulator = self.plan, self.emulator
        eager = emulator.eager_ms if self._thresholds["eager_eot_threshold"] is not None else None
        steps: list[tuple[int, str, int]] = []
        end = emulator.eot_ms
        if eager is not None and not plan.by_timeout:
            for left in range(plan.rounds, 0, -1):
                missing = left if plan.changes else 0
                steps += [(eager, "EagerEndOfTurn", missing), (eager + ROUND_MS, "TurnResumed", missing)]
                eager += 2 * ROUND_MS
            steps.append((eager, "EagerEndOfTurn", 0))
            end = max(end, eager + ROUND_MS)
        timeout = int(self._thresholds["eot_timeout_ms"] or 0)
        if not plan.endless:
            steps.append((timeout if plan.by_timeout else min(end, timeout), "EndOfTurn", 0))
        return steps

    async def _go_on(self, turn: _Turn, loud: bool) -> None:
        if loud:
            turn.step = 0
            spoken = 1 + (self.at_ms - turn.began_ms) // WORD_MS
            turn.shown = max(turn.shown, min(spoken, len(turn.words)))
            if turn.awaiting:
                turn.awaiting = False
                await self._tell(Moment.RESUMED, "TurnResumed", turn.so_far)
            return
        while turn is self._turn and turn.step < len(turn.steps):
            after_ms, event, missing = turn.steps[turn.step]
            if self._quiet_ms < after_ms:
                return
            turn.step += 1
            turn.shown = max(turn.shown, len(turn.words) - missing)
            if event == "EndOfTurn":
                await self._end(turn, "timeout" if self.plan.by_timeout else "model")
            elif event == "EagerEndOfTurn":
                if turn.words:
                    turn.awaiting = True
                    await self._tell(Moment.EAGER, event, turn.transcript(missing))
            elif turn.awaiting:
                turn.awaiting = False
                await self._tell(Moment.RESUMED, event, turn.transcript(max(0, missing - 1)))

    async def _end(self, turn: _Turn, trigger: str) -> None:
        await self._tell(Moment.END, "EndOfTurn", turn.transcript(), trigger=trigger)
        self._turn = None
        self._loud_ms = 0
        if not self._muted:
            self._count()
        self._index += 1

    def _count(self) -> None:
        """The turn was told in full: the next one has the next text."""
        if self._counted < self._index:
            self._counted = self._index
            self.emulator.turn_over(self.record)

    async def send(self, message: Mapping[str, object]) -> None:
        await super().send(message)
        if message.get("event") == "EndOfTurn" and self._turn is not None and not self._muted:
            self._count()

    async def _noisy(self) -> None:
        if self.at_ms < self._noise[0]:
            return
        self._noise.pop(0)
        if self._noise:
            await self._tell(None, "StartOfTurn", "")
        else:
            await self._tell(None, "EndOfTurn", "", trigger="model")
            self._index += 1

    async def _tell(self, moment: Moment | None, event: str, transcript: str, **more: object) -> None:
        self._told_ms = self.at_ms
        message: dict[str, object] = {
            "type": "TurnInfo",
            "request_id": REQUEST_ID,
            "event": event,
            "turn_index": self._index,
            "audio_window_start": 0.0,
            "audio_window_end": self.at_ms / 1000,
            "transcript": transcript,
        }
        if not self.plan.bare:
            words = [{"word": word, "confidence": 0.9} for word in transcript.split()]
            message |= {"words": words, "end_of_turn_confidence": 0.5, **more}
        await self.say(moment, message, turn=self.record.turns)

    def emptied(self, message: Mapping[str, object]) -> Mapping[str, object]:
        return {**message, "transcript": "", "words": []}

    def problem(self, act: Act) -> list[Mapping[str, object]]:
        if act is Act.ERROR:
            return [
                {"type": "Error", "code": "INTERNAL_SERVER_ERROR", "description": "Something went wrong."}
            ]
        if act is Act.WARNING:
            words = {"code": "AUDIO_TOO_QUIET", "description": "Hardly any sound."}
            return [{"type": "Warning", "request_id": REQUEST_ID, **words}]
        unknown = {"request_id": REQUEST_ID, "turn_index": self._index, "transcript": "Something else"}
        return [
            {"type": "Insight", "topics": ["weather"], "event": "EndOfTurn", **unknown},
            {"type": "TurnInfo", "event": "SpeakerChanged", "speaker": {"id": 2}, **unknown},
        ]


def _often(*moments: Moment, act: Act, turns: int = 20) -> tuple[Fault, ...]:
    return tuple(Fault(moment, act, turn) for turn in range(turns) for moment in moments)


_M, _A, _O = Moment, Act, Outcome

FAULTS: dict[str, Plan] = {
    **HANDSHAKES,
    "connected_late": fault(_M.CONNECTED, _A.LATE, _O.HEARD, seconds=1.5),
    "connected_never": fault(_M.CONNECTED, _A.SKIP, _O.HEARD),
    "drop_at_once": fault(_M.CONNECTED, _A.DROP_AFTER, _O.FAILED),
    "drop_before_any_speech": fault(_M.AUDIO, _A.DROP, _O.FAILED, seconds=0.1),
    "drop_before_start": fault(_M.START, _A.DROP, _O.FAILED),
    "drop_after_start": fault(_M.START, _A.DROP_AFTER, _O.FAILED),
    "drop_in_turn": fault(_M.UPDATE, _A.DROP_AFTER, _O.FAILED),
    "drop_after_eager": fault(_M.EAGER, _A.DROP_AFTER, _O.FAILED),
    "drop_before_end": fault(_M.END, _A.DROP, _O.FAILED),
    "drop_after_end": fault(_M.END, _A.DROP_AFTER, _O.FAILED),
    "drop_in_second_turn": fault(_M.UPDATE, _A.DROP_AFTER, _O.FAILED, turn=1),
    "close_in_turn": fault(_M.UPDATE, _A.CLOSE, _O.FAILED),
    "close_before_end": fault(_M.END, _A.CLOSE, _O.FAILED),
    "close_politely": fault(_M.END, _A.CLOSE_POLITELY, _O.FAILED),
    "mute_from_the_start": fault(_M.CONNECTED, _A.MUTE, _O.FAILED),
    "mute_after_2_s": fault(_M.AUDIO, _A.MUTE, _O.FAILED, seconds=2.0),
    "mute_after_start": fault(_M.START, _A.MUTE_AFTER, _O.FAILED),
    "mute_after_eager": fault(_M.EAGER, _A.MUTE_AFTER, _O.FAILED),
    "mute_before_end": fault(_M.END, _A.MUTE, _O.FAILED),
    "turn_without_end": Plan(_O.FAILED, endless=True),
    "one_resumed": Plan(rounds=1),
    "three_resumed": Plan(rounds=3),
    "text_changes_while_resumed": Plan(rounds=2, changes=True),
    "end_by_timeout": Plan(by_timeout=True),
    "noise_is_a_turn": Plan(noise_at=0.1),
    "end_without_text": fault(_M.END, _A.EMPTY, _O.PARTLY),
    "end_twice": Plan(faults=_often(_M.END, act=_A.TWICE)),
    "all_twice": Plan(faults=_often(_M.START, _M.UPDATE, _M.EAGER, _M.RESUMED, _M.END, act=_A.TWICE)),
    "end_skipped": fault(_M.END, _A.SKIP, _O.PARTLY),
    "start_skipped": fault(_M.START, _A.SKIP, _O.HEARD),
    "resumed_skipped": Plan(rounds=1, changes=True, faults=_often(_M.RESUMED, act=_A.SKIP)),
    "eager_skipped": Plan(faults=_often(_M.EAGER, act=_A.SKIP)),
    "end_late": fault(_M.END, _A.LATE, _O.HEARD, seconds=1.5),
    "start_late": fault(_M.START, _A.LATE, _O.HEARD, seconds=1.0),
    "gaps": Plan(faults=_often(_M.START, _M.END, act=_A.GAP)),
    "bare_messages": Plan(bare=True),
    "unknown_messages": Plan(faults=_often(_M.START, _M.UPDATE, _M.END, act=_A.UNKNOWN)),
    "warnings": Plan(faults=_often(_M.START, _M.END, act=_A.WARNING)),
    "binary": fault(_M.END, _A.BINARY, _O.HEARD),
    "garbage": fault(_M.UPDATE, _A.GARBAGE, _O.FAILED),
    "no_object": fault(_M.UPDATE, _A.NO_OBJECT, _O.FAILED),
    "error": fault(_M.UPDATE, _A.ERROR, _O.FAILED),
    "error_at_once": fault(_M.CONNECTED, _A.ERROR, _O.FAILED),
}
"""How a connection may go wrong, by name. Those with Eager and Resumed need a client that asks for eager ends."""
