"""Deepgram Nova (v1/listen) on 127.0.0.1, and the catalogue of how it may misbehave."""

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

__all__ = ["CLOSED_AS_SOUND_COMES", "FAULTS", "KEY", "NovaEmulator", "Outcome", "Plan"]

BOOLEANS = ("true", "false")
KNOWN: Final[Mapping[str, Sequence[str] | None]] = {
    "model": None,
    "encoding": ("linear16", "linear32", "mulaw", "alaw", "opus", "ogg-opus"),
    "sample_rate": None,
    "channels": None,
    "language": None,
    "endpointing": None,
    "utterance_end_ms": None,
    "keyterm": None,
    "keywords": None,
    "redact": None,
    "tag": None,
    **dict.fromkeys(
        ("interim_results", "vad_events", "smart_format", "punctuate", "numerals", "diarize", "mip_opt_out"),
        BOOLEANS,
    ),
    "no_delay": BOOLEANS,
}
REPEATABLE = ("keyterm", "keywords", "redact", "tag")
WORD_MS = 250
NEARLY_NOTHING_MS = 200
"""With less than this of sound not final yet, `Finalize` may stay without an answer."""


class NovaEmulator(Emulator):
    """Its own end of speech comes after the silence that the client asks for in `endpointing`."""

    path = "/v1/listen"

    def __init__(
        self,
        texts: Sequence[str] = (),
        plans: Sequence[Plan] = (),
        *,
        key: str = KEY,
        start_ms: int = 100,
        interim_ms: int = 1_000,
        final_ms: int = 3_000,
        repeat: bool = False,
        continues: bool = True,
    ) -> None:
        super().__init__(texts, plans, key=key, repeat=repeat, continues=continues)
        self.start_ms = start_ms
        self.interim_ms = interim_ms
        self.final_ms = final_ms
        """After so much sound its text becomes final, in the middle of speech too."""

    def session(self, wire: Wire, record: Record, plan: Plan) -> Session:
        return NovaSession(self, wire, record, plan)

    def refuses(self, query: Sequence[tuple[str, str]]) -> str:
        if wrong := check_parameters(query, KNOWN, REPEATABLE):
            return wrong
        given = dict(query)
        if given.get("model", "").startswith("flux"):
            return "this model is not served here"
        if "encoding" in given and not within(given.get("sample_rate", ""), 8_000, 48_000):
            return "sample_rate is missing"
        if "keyterm" in given and not given.get("model", "").startswith("nova-3"):
            return "keyterm needs nova-3"
        words = [value for name, value in query if name == "keywords"]
        if words and given.get("model", "").startswith("nova-3"):
            return "keywords are of the models before nova-3, which has keyterm"
        if any(not word or " " in word for word in words):
            return "keywords are single words"
        if given.get("endpointing", "false") != "false" and not within(given["endpointing"], 0, 5_000):
            return "bad value of endpointing"
        if "utterance_end_ms" in given and given.get("interim_results") != "true":
            return "utterance_end_ms needs interim_results"
        return ""


class NovaSession(Session):
    emulator: NovaEmulator

    def __init__(self, emulator: NovaEmulator, wire: Wire, record: Record, plan: Plan) -> None:
        super().__init__(emulator, wire, record, plan)
        endpointing = self.query.get("endpointing", "10")
        self._endpoint_ms = None if endpointing == "false" else int(endpointing)
        self._interims = self.query.get("interim_results") == "true"
        self._words: list[str] | None = None
        """Of the text being said, those not final yet; None while nobody speaks."""
        self._onset_ms = 0
        self._given = 0
        """Words of the text that are final."""
        self._counted = True
        self._loud_ms = 0
        self._quiet_ms = 0
        self._final_ms = 0
        """Where the sound begins whose text is not final yet."""
        self._told_ms = 0
        self._fed_at = wire.loop.time()
        """When sound came last, or a sign of life after sound."""

    async def opened(self) -> None:
        pass

    def idle_s(self) -> float:
        return self._fed_at + self.plan.idle_s - self.wire.loop.time()

    async def idle(self) -> None:
        await self.close(1011, "NET-0001")

    async def unparsable(self) -> None:
        await self.close(1008, "DATA-0000")

    async def order(self, kind: str, message: Mapping[str, object]) -> bool:
        match kind:
            case "KeepAlive":
                if self.record.bytes:
                    self._fed_at = self.wire.loop.time()
            case "Finalize":
                await self._finalize()
            case "CloseStream":
                seconds = self.at_ms / 1000
                await self.send(
                    {"type": "Metadata", "request_id": REQUEST_ID, "duration": seconds, "channels": 1}
                )
                await self.close(1000, "")
            case _:
                return False
        return True

    # -- speech ------------------------------------------------------------------------

    async def frame(self, loud: bool) -> None:
        self._fed_at = self.wire.loop.time()
        if loud:
            self._loud_ms += FRAME_MS
            self._quiet_ms = 0
            if self._words is None and self._loud_ms >= self.emulator.start_ms:
                self._words = self.emulator.text(self.record).split()
                self._onset_ms = self.at_ms
                self._given = 0
                self._counted = False
        else:
            self._quiet_ms += FRAME_MS
            if self._words is None and self._quiet_ms >= 300:
                self._loud_ms = 0
        if self._words is not None and self._quiet_ms and self._quiet_ms == self._endpoint_ms:
            await self._final(Moment.END, self._words, speech_final=True)
            self._over()
        elif self.at_ms - self._final_ms >= self.emulator.final_ms:
            await self._final(None, self._said())
        elif self._interims and self.at_ms - self._told_ms >= self.emulator.interim_ms:
            said = self._said()
            self._told_ms = self.at_ms
            await self.say(Moment.INTERIM if said else None, self._results(said), turn=self.record.turns)

    def _said(self) -> list[str]:
        """Words not final yet that were said by now."""
        if self._words is None:
            return []
        return self._words[: 1 + (self.at_ms - self._onset_ms) // WORD_MS - self._given]

    async def _final(self, moment: Moment | None, words: list[str], **more: bool) -> None:
        message = {**self._results(words), "is_final": True, **more}
        if self._words is not None:
            self._words = self._words[len(words) :]
            self._given += len(words)
        self._final_ms = self._told_ms = self.at_ms
        await self.say(moment, message, turn=self.record.turns)

    def _over(self) -> None:
        if not self._muted:
            self._count()
        self._words = None
        self._loud_ms = 0

    def _count(self) -> None:
        """The text was told in full: what is said next is the next one."""
        if not self._counted:
            self._counted = True
            self.emulator.turn_over(self.record)

    async def send(self, message: Mapping[str, object]) -> None:
        await super().send(message)
        ends = message.get("speech_final") or message.get("from_finalize")
        if ends and not self._muted:
            self._count()

    async def _finalize(self) -> None:
        left = self._words or []
        if left or self.plan.finalizes or self.at_ms - self._final_ms >= NEARLY_NOTHING_MS:
            await self._final(Moment.FINALIZED if left else None, left, from_finalize=True)
        if self._words is not None:
            self._over()

    def _results(self, words: Sequence[str]) -> dict[str, object]:
        start, until = self._final_ms / 1000, self.at_ms / 1000
        each = (until - start) / max(1, len(words))
        timed = [
            {
                "word": word.lower().strip(".,?!"),
                "punctuated_word": word,
                "start": round(start + index * each, 3),
                "end": round(start + (index + 1) * each, 3),
                "confidence": 0.9,
            }
            for index, word in enumerate(words)
        ]
        best: dict[str, object] = {"transcript": " ".join(words), "confidence": 0.9}
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "start": start,
            "duration": round(until - start, 3),
            "is_final": False,
            "speech_final": False,
            "from_finalize": False,
            "channel": {"alternatives": [best if self.plan.bare else {**best, "words": timed}]},
            "metadata": {
                "request_id": REQUEST_ID,
                "model_info": {"name": "general-nova-3", "arch": "nova-3"},
            },
        }

    def emptied(self, message: Mapping[str, object]) -> Mapping[str, object]:
        return {**message, "channel": {"alternatives": [{"transcript": "", "words": []}]}}

    def problem(self, act: Act) -> list[Mapping[str, object]]:
        if act is Act.ERROR:
            return [
                {
                    "type": "Error",
                    "variant": "INTERNAL",
                    "description": "Something went wrong.",
                    "message": "",
                }
            ]
        if act is Act.WARNING:
            return [{"type": "Warning", "code": "AUDIO_TOO_QUIET", "description": "Hardly any sound."}]
        return [
            {"type": "SpeechStarted", "channel": [0, 1], "timestamp": self.at_ms / 1000},
            {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": self.at_ms / 1000},
            {"type": "Insight", "channel": "none", "is_final": "perhaps"},
        ]


def _often(*moments: Moment, act: Act, turns: int = 20) -> tuple[Fault, ...]:
    return tuple(Fault(moment, act, turn) for turn in range(turns) for moment in moments)


_M, _A, _O = Moment, Act, Outcome
_ENDS = (_M.END, _M.FINALIZED)


def _at_the_end(act: Act, outcome: Outcome, *, seconds: float = 0.0) -> Plan:
    """However the first stretch becomes final."""
    return Plan(outcome, faults=tuple(Fault(moment, act, 0, seconds) for moment in _ENDS))


FAULTS: dict[str, Plan] = {
    **HANDSHAKES,
    "drop_before_any_speech": fault(_M.AUDIO, _A.DROP, _O.FAILED, seconds=0.1),
    "drop_in_speech": fault(_M.AUDIO, _A.DROP, _O.FAILED, seconds=1.0),
    "drop_before_interim": fault(_M.INTERIM, _A.DROP, _O.FAILED),
    "drop_after_interim": fault(_M.INTERIM, _A.DROP_AFTER, _O.FAILED),
    "drop_before_end": _at_the_end(_A.DROP, _O.FAILED),
    "drop_after_end": _at_the_end(_A.DROP_AFTER, _O.FAILED),
    "drop_in_second_stretch": fault(_M.INTERIM, _A.DROP_AFTER, _O.FAILED, turn=1),
    "close_in_speech": fault(_M.INTERIM, _A.CLOSE, _O.FAILED),
    "close_before_end": _at_the_end(_A.CLOSE, _O.FAILED),
    "close_politely": fault(_M.INTERIM, _A.CLOSE_POLITELY, _O.FAILED),
    "mute_from_the_start": fault(_M.AUDIO, _A.MUTE, _O.FAILED),
    "mute_after_2_s": fault(_M.AUDIO, _A.MUTE, _O.FAILED, seconds=2.0),
    "mute_after_interim": fault(_M.INTERIM, _A.MUTE_AFTER, _O.FAILED),
    "end_skipped": _at_the_end(_A.SKIP, _O.FAILED),
    "end_without_text": _at_the_end(_A.EMPTY, _O.PARTLY),
    "end_late": _at_the_end(_A.LATE, _O.HEARD, seconds=0.3),
    "end_too_late": _at_the_end(_A.LATE, _O.FAILED, seconds=2.0),
    "end_twice": Plan(faults=_often(*_ENDS, act=_A.TWICE)),
    "interim_twice": Plan(faults=_often(_M.INTERIM, act=_A.TWICE)),
    "interim_skipped": Plan(faults=_often(_M.INTERIM, act=_A.SKIP)),
    "interim_without_text": Plan(faults=_often(_M.INTERIM, act=_A.EMPTY)),
    "finalize_unanswered": Plan(finalizes=False),
    "bare_messages": Plan(bare=True),
    "unknown_messages": Plan(faults=_often(_M.INTERIM, *_ENDS, act=_A.UNKNOWN)),
    "warnings": Plan(faults=_often(_M.INTERIM, *_ENDS, act=_A.WARNING)),
    "binary": fault(_M.INTERIM, _A.BINARY, _O.HEARD),
    "garbage": fault(_M.INTERIM, _A.GARBAGE, _O.FAILED),
    "no_object": fault(_M.INTERIM, _A.NO_OBJECT, _O.FAILED),
    "error": fault(_M.INTERIM, _A.ERROR, _O.FAILED),
}
"""How a connection may go wrong, by name."""

CLOSED_AS_SOUND_COMES = fault(_M.AUDIO, _A.CLOSE_IDLE, _O.HEARD)
"""May be of a connection that had no sound for a while, so of the first with any and of no other."""
