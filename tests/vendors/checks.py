"""What must hold in every call with hosted engines, whatever the vendors do.

Each check returns what is wrong as sentences, nothing when all is well: `wrong` is all of them.
Money is computed here anew, from what the emulators counted and the phone received.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.audio.mulaw import RATE
from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.effects import Message
from pipeline.core.money import Millis
from pipeline.core.sentences import SentenceCutter
from pipeline.core.tariff import PriceBook, cost
from pipeline.engines.base import Tokens
from pipeline.engines.counting import prompt_tokens
from pipeline.engines.openai_chat import END_CALL_BYTES
from pipeline.replay import replay
from tests.emulators.chat import Served
from tests.emulators.sounding import MS_A_CHARACTER
from tests.vendors.cast import AGAIN, ANSWERS, EAR_BEHIND, MIND, MODELS, PHRASES, VOICE_BEHIND
from tests.vendors.rig import Held

FALLBACK_MS = 1_500
"""From the moment a failure is known to the first sound of the next engine's answer."""
KEPT_S = 8
"""So much of a turn is heard again by a successor."""
STOCK = (*PHRASES.all,)


def wrong(held: Held) -> list[str]:
    """Everything that does not hold."""
    return [*_ending(held), *_bill(held), *_talk(held), *_sound(held)]


# -- the end -----------------------------------------------------------------------------


def _ending(held: Held) -> Iterator[str]:
    if held.person.gave_up:
        yield "the call did not end"
    if held.doors.open:
        yield f"{held.doors.open} engines left open"
    if held.left:
        yield f"{held.left} tasks left"
    if held.vendors.open:
        yield f"{held.vendors.open} sockets left open"
    if held.vendors.violations:
        yield f"against a vendor's protocol: {held.vendors.violations}"
    result = replay(held.lines)
    if not result.exact:
        yield f"the journal does not replay: {result.difference}"
    stamps = [event.at for event, _ in held.around.steps]
    if stamps != sorted(stamps):
        yield "stamps went backwards"


# -- money -------------------------------------------------------------------------------


def _bill(held: Held) -> Iterator[str]:
    start = held.events(ev.CallStarted)[0]
    total = sum(charge.nano for charge in held.all(fx.Charge))
    if held.ended.total != total:
        yield f"the total {held.ended.total} is not the sum of the tiles {total}"
    if total > start.allowance.held:
        yield f"{total} was spent of {start.allowance.held}"
    book = PriceBook(start.prices)
    anew = sum(cost(book.line(name), quantity) for name, quantity in held.charged.items())
    if anew != total:
        yield f"the quantities cost {anew}, not {total}"
    yield from _heard_bill(held)
    yield from _written_bill(held)
    yield from _spoken_bill(held)


def _heard_bill(held: Held) -> Iterator[str]:
    model = MODELS[held.cast.ear]
    line = f"stt:{model}:second"
    charged, counted, again = (
        held.charged.get(line, 0),
        held.vendors.ear.seconds_billed,
        held.company.again[model],
    )
    if charged != counted - again:
        yield f"{line}: {charged} s charged, {counted} s counted, {again} of them heard again"
    # Each opening has its own part of a second; but for that no sound is paid for twice.
    openings = [event.model for event in held.events(ev.Listening)]
    sounded = sum(record.bytes > 0 for record in held.vendors.ear.records)
    if charged > held.person.sounded // RATE + sounded:
        yield f"{line}: {charged} s charged of {held.person.sounded / RATE:.2f} s of sound"
    if again > KEPT_S * openings[1:].count(model):
        yield f"{line}: {again} s heard again by {openings}"
    behind = held.charged.get(f"stt:{EAR_BEHIND}:second", 0)
    listened = _listened_s(held, EAR_BEHIND)
    if not listened <= behind <= listened + 1:
        yield f"{EAR_BEHIND}: {behind} s charged, listened for {listened}"


def _listened_s(held: Held, model: str) -> int:
    """Seconds begun, from the answer on, in which a model was the one that listens."""
    if not held.events(ev.Answered) or held.ended.reason is None:
        return 0
    zero = held.events(ev.Answered)[0].at
    until = next(
        event.at
        for event, made in held.around.steps
        if any(isinstance(e, fx.HangUp) for e in made) or isinstance(event, ev.LineDropped | ev.CarrierDone)
    )
    changes = [(max(zero, event.at), event.model) for event in held.events(ev.Listening)]
    ends = [*(at for at, _ in changes[1:]), until] if changes else []
    return math.ceil(
        sum(max(0, end - at) for (at, name), end in zip(changes, ends, strict=True) if name == model) / 1000
    )


def estimated(served: Served) -> Tokens:
    """The documented estimate of a reply whose count the vendor never told."""
    told = [Message(message["role"], message["content"]) for message in served.body["messages"]]
    prompt = prompt_tokens(told) + -(-END_CALL_BYTES // 4)
    return Tokens(prompt, 0, -(-len(served.written.encode()) // 4), estimated=True)


def delivered(served: Served) -> bool:
    """Whether there was something to speak of it, or the end of the call: all, or at least a first clause."""
    text = served.written.split("</think>")[-1].strip()
    return served.called or (bool(text) and (served.finished or bool(SentenceCutter().add(text))))


def _written_bill(held: Held) -> Iterator[str]:
    finished = [event for event in held.events(ev.ReplyFinished) if event.model == MIND]
    due = [
        (served, served.billed if served.told else estimated(served))
        for served in held.vendors.mind.served
        if served.prompt and (delivered(served) or _dropped_by_us(held, served))
    ]
    for kind in ("in", "cached", "out"):
        charged = held.charged.get(f"llm:{MIND}:token_{kind}", 0)
        field = {"in": "uncached", "cached": "cached", "out": "out"}[kind]
        counted = sum(getattr(tokens, field) for _, tokens in due)
        if charged != counted:
            yield f"llm token_{kind}: {charged} charged, {counted} counted"
    if len(finished) < len(due):
        yield f"{len(due)} replies delivered, {len(finished)} finished"


def _dropped_by_us(held: Held, served: Served) -> bool:
    """Whether the call did not want it any more, rather than failover having given it up."""
    if served.left_at is None:
        return False
    left = round(served.left_at * 1000)
    return any(abs(at - left) <= 1 for at in held.when(fx.DropReply))


def _spoken_bill(held: Held) -> Iterator[str]:
    """An utterance is its first sound's; one that was cancelled before that, the one's who had its text.

    What was sold is held against what each voice was asked for and gave.
    """
    hosted = MODELS[held.cast.voice]
    sold: dict[str, Counter[str]] = {hosted: Counter(), VOICE_BEHIND: Counter()}
    bought: Counter[int] = Counter()
    for event, made in held.around.steps:
        tiles = [each for each in made if isinstance(each, fx.Charge) and each.line.startswith("tts:")]
        if not isinstance(event, ev.SpeechBought):
            yield from (f"{tile.line}: charged at {type(event).__name__}" for tile in tiles)
            continue
        text = held.said[event.utterance]
        bought[event.utterance] += 1
        yield from _price(event.model, text, tiles)
        if tiles:
            sold[event.model][text] += 1
    yield from (
        f"{held.said[each]!r} was bought {times} times" for each, times in bought.items() if times > 1
    )
    for utterance in {event.utterance for event in held.events(ev.AudioQueued)} - set(bought):
        yield f"{held.said[utterance]!r} was sounded and never bought"
    yield from _received(held, hosted, sold[hosted])
    asked = Counter(held.company.voice_behind.spoken)
    yield from (
        f"{VOICE_BEHIND} is paid for {text!r}, which it never got" for text in sold[VOICE_BEHIND] - asked
    )


def _price(model: str, text: str, tiles: Sequence[fx.Charge]) -> Iterator[str]:
    """Of the stock phrases only the greeting is paid for, also when it was rendered earlier."""
    due = len(text) if text == PHRASES.greeting or text not in STOCK else 0
    charged = sum(tile.to_qty - tile.from_qty for tile in tiles)
    if charged != due:
        yield f"tts {model}: {charged} charged, {due} due for {text!r}"
    yield from (
        f"{tile.line}: charged for {text!r} of {model}" for tile in tiles if tile.line != f"tts:{model}:char"
    )


def _received(held: Held, hosted: str, sold: Counter[str]) -> Iterator[str]:
    """No more of each text is paid for than the vendor got of it, whole, and no less than it gave sound of."""
    ours = {*STOCK} if held.cast.rendered else {*STOCK} - {PHRASES.greeting}
    spoken = [one for one in held.vendors.voice.spoken if one.text.strip() not in ours]
    got = Counter(one.text.strip() for one in spoken)
    sounded = Counter(one.text.strip() for one in spoken if one.sounded)
    paid = Counter({text: times for text, times in sold.items() if text not in ours})
    for text in paid - got:
        yield f"{hosted} is paid for {text!r}, which it never got"
    for text in sounded - paid:
        yield f"{hosted} is not paid for {text!r}, of which it gave sound"
    charged = held.charged.get(f"tts:{hosted}:char", 0)
    counted = sum(one.characters for one in spoken)
    from_stock = sum(len(text) * times for text, times in sold.items() if text in ours)
    if charged > counted + from_stock:
        yield f"tts {hosted}: {charged} charged, {counted} counted and {from_stock} from stock"


# -- what was said ------------------------------------------------------------------------


def _talk(held: Held) -> Iterator[str]:
    agent = [text for role, text in held.transcript if role == "agent"]
    for name, answer in ANSWERS.items():
        asked = sum(spoken.name == name for spoken in held.person.said)
        if held.cast.texts is None and sum(text.count(answer) for text in agent) > asked:
            yield f"{answer!r} was said more often than it was asked for"
    said = [spoken.text for spoken in held.person.said]
    heard = " ".join(text for role, text in held.transcript if role == "caller")
    for text in set(said):
        if text not in heard and not any(phrase in " ".join(agent) for phrase in (*AGAIN, PHRASES.trouble)):
            yield f"{text!r} was lost without a word"
    turns = held.transcript
    for (role, text), (then, _) in zip(turns, [*turns[1:], ("nobody", "")], strict=True):
        if role == "caller" and then != "agent" and held.cast.answered:
            yield f"{text!r} was not answered"


def _sound(held: Held) -> Iterator[str]:
    """Nothing is heard twice: of no utterance more sound than it has, but for the word a successor begins with."""
    lengths: Counter[int] = Counter()
    for event in held.events(ev.AudioQueued):
        lengths[event.utterance] += event.ms
    for utterance, ms in lengths.items():
        text = held.said[utterance]
        longest = max(len(word) for word in text.split()) + 1
        most = (len(text) + 2 * longest) * MS_A_CHARACTER * 11 // 10
        if ms > most and held.cast.whole:
            yield f"{ms} ms of {text!r}, which has {len(text) * MS_A_CHARACTER}"


# -- failing over --------------------------------------------------------------------------


def failed_over_late(held: Held) -> list[str]:
    """Failures for which the person waited, after which nothing was heard in time."""
    found = []
    for at, seam in held.company.failures:
        due = _due(held, at)
        if due is None:
            continue
        heard = held.ears.next_sound(at / 1000)
        if heard is None or heard * 1000 > due:
            waited = "for ever" if heard is None else f"{heard * 1000 - (due - FALLBACK_MS):.0f} ms"
            found.append(f"after the {seam} failure at {at} ms the person waited {waited}")
    return found


def _due(held: Held, at: Millis) -> int | None:
    """When sound must be heard after a failure; None if nobody waits for any."""
    open_turns = [
        spoken
        for spoken in held.person.said
        if spoken.began <= at
        and not any(spoken.ended < begins * 1000 < at for begins, _ in held.ears.audible)
    ]
    playing = [round(ends * 1000) for begins, ends in held.ears.audible if begins * 1000 <= at]
    if open_turns:
        return max(at, open_turns[-1].ended) + FALLBACK_MS
    in_mid_answer = held.person.said and playing and playing[-1] > at - FALLBACK_MS
    return max(at, playing[-1]) + FALLBACK_MS if in_mid_answer else None
