"""What the caller did: voice and words gathered into a turn, and one verdict on what they come to.

Decides nothing about the agent: what follows from a verdict is decided in `call.py`, which words count
as what in `cues.py`, when a turn is over in `turns.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from pipeline.core import cues, greetings, leave
from pipeline.core import events as ev
from pipeline.core.money import START, Millis
from pipeline.core.phases import ANSWERING, TALKING, Phase
from pipeline.core.transcript import Transcript
from pipeline.core.turns import CallerTurn, Said

TAIL_MS = 1_000
"""The last of the agent's speech: its quiet end, and the way of its mark. Who speaks then answers it."""
SCREENED_TURNS = 4
"""Machines and call screeners speak first: later nothing is taken for one by its words."""
ANSWERED_TURNS = 2
"""A recording waits for no answer: whoever heard two of them to the end is a person."""

Voice = ev.SpeechStarted | ev.SpeechHeld | ev.SpeechFaded | ev.SpeechReturned | ev.SpeechStopped
Words = ev.Heard | ev.SegmentHeard | ev.TurnLikelyEnded | ev.TurnResumed | ev.TurnEnded


class Verdict(Enum):
    NOTHING = auto()
    SPEAKS = auto()
    """A voice, and no click: somebody is there."""
    WENT_ON = auto()
    """A voice again, where one had paused."""
    RESUMED = auto()
    """They were not done after all, says who thought so."""
    PAUSES = auto()
    """They are not done, by what they said so far."""
    PROBABLY_DONE = auto()
    OVER = auto()
    """Their turn has ended: `turn_over` tells what it comes to."""
    MACHINE = auto()
    """An answering machine greets."""
    FULL_MAILBOX = auto()
    NOISE = auto()
    """What stopped the agent was none, or only a sign that somebody listens: it took no floor."""
    LOST = auto()
    """Something was said, and its words will not come."""
    SCREENER = auto()
    """A call screener asks who calls."""
    OPTS_OUT = auto()
    LISTENS = auto()
    """"Mm-hm", said beside the agent's voice."""
    TAKES_LEAVE = auto()
    TURN = auto()
    """Words to be answered."""


@dataclass(frozen=True, slots=True)
class Over:
    """A turn that is over, and what it comes to."""

    said: Said
    verdict: Verdict


class Hearing:
    """Words are judged twice: at once, by `interrupts` and `greets`, and for the turn they belong to.

    `ends_turns` is whether the present transcriber does; `probably` is the turn, where it is probably
    over; `screened` is when a call screener was met, `understood` when words last came.
    """

    def __init__(self, started: ev.CallStarted) -> None:
        self.turn = CallerTurn(started.limits)
        self.probably = ""
        self.ends_turns = started.transcriber_ends_turns
        self.screened: Millis | None = None
        self.understood = START
        self._barge_in_words = started.limits.barge_in_words

    def voice(self, event: Voice, now: Millis) -> Verdict:
        """What voice activity detection saw; before the words of it come, it says little."""
        match event:
            case ev.SpeechStarted():
                self.turn.voice_on(_ago(event.onset_ms, now))
                return Verdict.NOTHING if self.ends_turns else Verdict.WENT_ON
            case ev.SpeechHeld():
                self.turn.hold(now)
                return Verdict.SPEAKS
            case ev.SpeechFaded():
                self.turn.fade(_ago(event.quiet_ms, now))
            case ev.SpeechReturned():
                self.turn.come_back(now)
            case _:
                ended, quiet = _ago(event.silence_ms, now), _ago(event.quiet_ms, now)
                self.turn.voice_off(ended, quiet, text_follows=not self.ends_turns)
        return Verdict.NOTHING

    def forsake(self, now: Millis) -> None:
        """A voice of which nothing is seen or understood any more is over, as far as anybody knows."""
        self.turn.voice_off(now, now, text_follows=False)

    # -- words, at once --------------------------------------------------------------------

    def words(self, event: Words, now: Millis) -> str:
        """What is known of the caller's words by now."""
        if not isinstance(event, ev.TurnResumed) and event.text:
            self.understood = now
        match event:
            case ev.SegmentHeard():
                self.turn.segment(event.text, now)
                return self.turn.text
            case ev.TurnResumed():
                return ""
            case _:
                return event.text

    def interrupts(self, text: str) -> bool:
        """Whether a voice that stopped the agent, or would have, takes the floor with these words.

        Of a sound so brief that it was taken for a noise a transcriber makes all kinds of words, of the agent's
        echo behind it too: only those do that mean to stop somebody and that it had the time for.
        """
        if not self.turn.barged or not self._takes_floor(text):
            return False
        return not self.turn.brief or (self.turn.holds(text) and cues.calls_out(text))

    def greets(self, text: str, phase: Phase, transcript: Transcript) -> Verdict:
        """Whether no person says this. A full mailbox may be told of late, by a machine known for one."""
        early = phase in TALKING and transcript.turns <= SCREENED_TURNS
        if (early or phase is Phase.MACHINE) and greetings.mailbox_full(text):
            return Verdict.FULL_MAILBOX
        if not early:
            return Verdict.NOTHING
        whole = f"{transcript.unanswered} {text}"  # a transcriber that ends turns may end one in mid-greeting
        greeted = greetings.machine(text) or greetings.machine(whole)
        return Verdict.MACHINE if greeted else Verdict.NOTHING

    def is_person(self, transcript: Transcript) -> bool:
        """Whether a carrier that thinks of a machine is mistaken by now. What a screener was told is no answer."""
        answered = transcript.answered - (self.screened is not None)
        return answered >= ANSWERED_TURNS and not any(map(greetings.machine, transcript.callers))

    @property
    def heard_out(self) -> bool:
        """Whether all words are known that a silence lets come; an engine that ends turns may have more."""
        return not self.ends_turns and self.turn.heard_out

    def _takes_floor(self, text: str) -> bool:
        """Whether these words, said into the agent's voice, are an interruption."""
        if len(text.split()) < self._barge_in_words:
            return cues.opt_out(text) or leave.farewell(text)
        return bool(text) and not cues.backchannel(text)

    # -- the turn --------------------------------------------------------------------------

    def so_far(self, event: Words, now: Millis, phase: Phase, *, parting: bool) -> Verdict:
        """How far the turn has come with these words; `parting`: the agent's last word is not interrupted."""
        match event:
            case ev.Heard():
                return Verdict.NOTHING
            case ev.SegmentHeard():
                self.probably = self.turn.text
                return self._stretch(event.text, phase, parting=parting)
            case ev.TurnLikelyEnded():
                self.probably = self.turn.with_rest(event.text)
                return Verdict.PROBABLY_DONE
            case ev.TurnResumed():
                return Verdict.RESUMED
            case _:
                self.turn.over(event.text, now, _ago(event.quiet_ms, now))
                if phase is Phase.MACHINE:  # it may be a person after all, and then has said this
                    return Verdict.OPTS_OUT if cues.opt_out(event.text) else Verdict.NOTHING
                return Verdict.OVER

    def _stretch(self, text: str, phase: Phase, *, parting: bool) -> Verdict:
        """Where a silence ends the turn; beside a conversation only one thing counts."""
        if (parting or phase not in TALKING) and cues.opt_out(text):
            return Verdict.OPTS_OUT
        if phase in ANSWERING and self.heard_out and not self.turn.texts:
            self.turn.take()  # a noise beside the agent's voice does not make the next one longer
        if not self.turn.settled:
            return Verdict.NOTHING
        return Verdict.PAUSES if cues.unfinished(self.turn.text) else Verdict.PROBABLY_DONE

    def turn_over(self, now: Millis, phase: Phase, since: Millis, transcript: Transcript) -> Over:
        """End the turn. `since` is when the phase began, `transcript` what was said before."""
        lost = self.turn.awaited > 0 and not self.turn.text
        doubtful = self._doubtful()
        said = self.turn.take()
        doubtful &= phase in ANSWERING or said.started <= since - TAIL_MS
        if phase is Phase.INTERRUPTED and not self._takes_floor(said.text):
            return Over(said, Verdict.NOISE)
        if lost:
            return Over(said, Verdict.LOST)
        if phase not in TALKING or not said.text:
            return Over(said, Verdict.OPTS_OUT if cues.opt_out(said.text) else Verdict.NOTHING)
        if self.screened is None and transcript.turns <= SCREENED_TURNS and greetings.screening(said.text):
            self.screened = now
            return Over(said, Verdict.SCREENER)
        beside = phase in ANSWERING or said.ended <= since
        return Over(said, _meaning(said.text, transcript.unanswered, beside=beside, doubtful=doubtful))

    def _doubtful(self) -> bool:
        """Whether what was heard is probably none of the caller's words."""
        text = self.turn.text
        if not self.turn.brief:
            return False
        return not self.turn.holds(text) or (len(text.split()) == 1 and not cues.calls_out(text))


def _meaning(text: str, before: str, *, beside: bool, doubtful: bool) -> Verdict:
    """`before` is what has no answer yet, `beside` whether the agent had the floor while the turn was said,
    `doubtful` whether it was said at all.
    """
    if cues.opt_out(text):
        return Verdict.OPTS_OUT
    if beside and (cues.backchannel(text) or (doubtful and not leave.farewell(text))):
        return Verdict.LISTENS
    leaves = leave.farewell(text) or (leave.farewell(before) and leave.farewell(f"{before}. {text}"))
    return Verdict.TAKES_LEAVE if leaves else Verdict.TURN


def _ago(ms: int, now: Millis) -> Millis:
    return Millis(max(0, now - ms))
