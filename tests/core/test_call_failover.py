"""Several engines of a kind in one call: each is paid for what it did, and the worst case is the dearest's."""

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.call import Phase
from pipeline.core.money import Nanos
from pipeline.core.prompt import TOOL_TOKENS, tokens_at_most
from pipeline.core.tariff import Price, cost
from pipeline.core.terms import EndReason, Limits
from tests.core.story import (
    ANSWERED,
    LLM_IN,
    LLM_OUT,
    PHRASES,
    PLENTY,
    PRICES,
    STT,
    TTS,
    Story,
    minutes_paid,
    started,
)

SPARE_EAR = Price(11, "stt", "spare", "second", 13_000_000, 60)
SPARE_IN = Price(12, "llm", "spare", "token_in", 700_000_000, 1_000_000)
SPARE_OUT = Price(13, "llm", "spare", "token_out", 1_500_000_000, 1_000_000)
SPARE_VOICE = Price(14, "tts", "spare", "char", 60_000_000, 1_000)
BOTH = (*PRICES, SPARE_EAR, SPARE_IN, SPARE_OUT, SPARE_VOICE)


def told(allowed: Nanos = PLENTY, **limits: int) -> Story:
    """A call in which the greeting has been heard."""
    limits = {"idle_prompt_ms": 10**7, **limits}
    return Story(started(allowed, prices=BOTH, limits=Limits(**limits))).answer().hear_out()


def listens(story: Story, model: str, at: int, *, ends_turns: bool = False) -> Story:
    story.run(to=ANSWERED + at)
    return story.post(lambda now: ev.Listening(now, model, ends_turns)).run()


def counted(story: Story, line: str, total: int) -> Story:
    return story.post(lambda at: ev.EngineUsed(at, line, total)).run()


def seconds(story: Story, price: Price) -> int:
    return story.call.spending.meter.total(price.line)


def failed(story: Story, service: str, ref: int, kind: str) -> Story:
    return story.post(lambda at: ev.EngineFailed(at, service, ref, kind)).run()  # type: ignore[arg-type]


# -- ears ------------------------------------------------------------------------------


def test_seconds_run_on_the_line_of_the_transcriber_that_listens() -> None:
    story = listens(told(), "spare", 20_000)
    story.run(to=ANSWERED + 50_500)
    assert (seconds(story, STT), seconds(story, SPARE_EAR)) == (21, 31)
    listens(story, STT.model, 60_000).run(to=ANSWERED + 69_999)
    assert (seconds(story, STT), seconds(story, SPARE_EAR)) == (31, 41)
    assert story.charged(SPARE_EAR) == cost(SPARE_EAR, 41)


def test_a_second_that_is_begun_is_paid_for_on_either_line() -> None:
    story = listens(told(), "spare", 20_500)
    assert (seconds(story, STT), seconds(story, SPARE_EAR)) == (21, 1)
    story.run(to=ANSWERED + 21_000)
    assert (seconds(story, STT), seconds(story, SPARE_EAR)) == (21, 2)


def test_the_transcriber_that_opens_is_the_one_that_runs_though_another_is_preferred() -> None:
    story = Story(started(prices=BOTH))
    story.run(to=1_000).post(lambda at: ev.Listening(at, "spare", False)).answer()
    story.run(to=ANSWERED + 9_500)
    assert (seconds(story, STT), seconds(story, SPARE_EAR)) == (0, 10)


def test_the_same_transcriber_again_starts_nothing_anew() -> None:
    story = listens(told(), STT.model, 20_000)
    story.run(to=ANSWERED + 30_500)
    assert seconds(story, STT) == 31
    listens(story, "unknown", 40_000).run(to=ANSWERED + 50_500)
    assert seconds(story, STT) == 51  # one without a price leaves the clock where it was


def test_a_dearer_transcriber_brings_the_cutoff_nearer() -> None:
    story = told(minutes_paid(2, slack=0))
    before = story.call.spending.cutoff
    assert before == ANSWERED + 120_000
    listens(story, "spare", 20_000)
    after = story.call.spending.cutoff
    assert after is not None
    assert after < before
    assert story.end().total <= minutes_paid(2, slack=0)


def test_the_bill_closes_with_the_vendors_own_seconds_on_either_line() -> None:
    story = listens(told(), "spare", 20_000)
    counted(story, STT.line, 19)
    story.run(to=ANSWERED + 40_500)
    counted(story, SPARE_EAR.line, 30)
    assert (seconds(story, STT), seconds(story, SPARE_EAR)) == (21, 30)  # more at once, less in the end
    story.run(to=ANSWERED + 45_500)
    story.carrier_done().end()
    assert (seconds(story, STT), seconds(story, SPARE_EAR)) == (19, 30)
    assert story.charged(STT) == cost(STT, 19)
    assert story.charged(SPARE_EAR) == cost(SPARE_EAR, 30)


def test_a_line_of_which_no_vendor_said_anything_keeps_our_own_seconds() -> None:
    story = listens(told(), "spare", 20_000)
    counted(story, SPARE_EAR.line, 1)
    story.run(to=ANSWERED + 40_500)
    story.carrier_done().end()
    assert (seconds(story, STT), seconds(story, SPARE_EAR)) == (21, 1)


def test_a_call_that_nobody_ever_listened_to_is_not_billed_for_listening() -> None:
    story = Story(started(prices=BOTH)).run(to=1_000)
    story.ears = False
    failed(story, "stt", 0, "failed").answer().hear_out()
    for _ in range(2):
        failed(story, "stt", 0, "failed").run(4_000)
    end = story.end()
    assert end.reason is EndReason.ENGINE_FAILURE
    assert story.charged(STT) == 0


def test_a_count_that_shrinks_is_not_believed() -> None:
    story = counted(counted(told().run(to=ANSWERED + 20_500), STT.line, 18), STT.line, 3)
    story.carrier_done().end()
    assert seconds(story, STT) == 18


def test_who_ends_turns_changes_with_the_transcriber() -> None:
    story = listens(told(), "spare", 20_000, ends_turns=True)
    story.voice(1_000).run(3_000)
    assert story.all(fx.AskReply) == []  # nobody waits for a text
    assert PHRASES.apology not in story.said()
    story.post(lambda at: ev.TurnEnded(at, "What is new?")).run(100)
    assert len(story.all(fx.AskReply)) == 1
    listens(story, STT.model, 30_000).say("And with you?", ms=800).run(1_400)
    assert len(story.all(fx.AskReply)) == 2


# -- minds -----------------------------------------------------------------------------


def finishes(story: Story, model: str, *tokens: int) -> Story:
    tokens_in, out = tokens
    number = story.call.replies.number
    return story.post(lambda at: ev.ReplyFinished(at, number, model, False, tokens_in, 0, out)).run()


def test_a_reply_is_drawn_at_the_dearest_price_and_paid_at_that_of_the_model_that_wrote_it() -> None:
    story = told().reply(hangs=True).say("Hello there.", ms=900).run(1_500)
    (order,) = story.all(fx.AskReply)
    prompt = tokens_at_most(order.messages) + TOOL_TOKENS
    worst = cost(SPARE_IN, prompt) + cost(SPARE_OUT, 160) + cost(SPARE_VOICE, 200)
    assert story.call.spending.purse.pending == worst
    story.post(lambda at: ev.ReplyPiece(at, 1, "Hello you.")).run()
    finishes(story, "spare", 50, 4)
    assert story.charged(SPARE_IN) == cost(SPARE_IN, 50)
    assert story.charged(SPARE_OUT) == cost(SPARE_OUT, 4)
    assert (story.charged(LLM_IN), story.charged(LLM_OUT)) == (0, 0)
    story.run(5_000)
    assert story.call.spending.purse.pending == 0


def test_a_reply_that_none_of_them_wrote_costs_nothing() -> None:
    story = told().reply(hangs=True).say("Hello there.", ms=900).run(1_500)
    before = story.call.spending.meter.nano
    failed(finishes(story, "", 0, 0), "llm", 1, "failed")
    assert story.call.spending.meter.nano == before


def test_an_estimate_is_charged_like_a_count() -> None:
    story = told().reply(hangs=True).say("Hello there.", ms=900).run(1_500)
    story.post(lambda at: ev.ReplyFinished(at, 1, LLM_IN.model, True, 40, 0, 6)).run()
    assert story.charged(LLM_IN) == cost(LLM_IN, 40)


def test_what_only_the_cheap_engine_could_be_paid_for_is_not_asked_for() -> None:
    slack = 3_500_000 + 15_000 * len(PHRASES.greeting)  # the cheap one's worst case, and not the dear one's
    plain = Story(started(minutes_paid(1, slack=slack), limits=Limits(idle_prompt_ms=10**7)))
    spare = Story(started(minutes_paid(1, slack=slack), prices=BOTH, limits=Limits(idle_prompt_ms=10**7)))
    for story in (plain, spare):
        story.answer().hear_out().say("Hello there.", at=24_000, ms=900).run(1_500)
    assert len(plain.all(fx.AskReply)) == 1
    assert spare.all(fx.AskReply) == []


# -- voices ----------------------------------------------------------------------------


def speaking(text: str = "Hello you.") -> Story:
    """A reply was handed to the voices, and none has said yet that it has it."""
    story = told().reply(text, first_ms=300)
    story.voices = False
    return story.say("Hello there.", ms=900).run(2_000)


def test_speech_is_charged_to_the_voice_that_has_it_and_once() -> None:
    story = speaking()
    assert story.charged(TTS) == cost(TTS, len(PHRASES.greeting))
    assert story.call.spending.purse.pending == cost(SPARE_VOICE, 10) + cost(SPARE_VOICE, 190)
    for model in ("spare", TTS.model):
        story.post(lambda at, model=model: ev.SpeechBought(at, 3, model)).run()  # type: ignore[misc]
    assert story.charged(SPARE_VOICE) == cost(SPARE_VOICE, len("Hello you."))
    assert story.charged(TTS) == cost(TTS, len(PHRASES.greeting))


def test_speech_that_no_voice_took_costs_nothing() -> None:
    story = speaking().post(lambda at: ev.SpeechSkipped(at, 3)).run()
    story.post(lambda at: ev.SpeechBought(at, 3, TTS.model)).run()
    assert story.charged(TTS) == cost(TTS, len(PHRASES.greeting))


def test_speech_that_failed_costs_nothing() -> None:
    story = failed(speaking(), "tts", 3, "failed")
    story.post(lambda at: ev.SpeechBought(at, 3, TTS.model)).run()
    assert story.charged(TTS) == cost(TTS, len(PHRASES.greeting))
    assert story.said()[-1] == PHRASES.apology


def test_the_greeting_in_the_voice_of_another_model_is_charged_on_its_line() -> None:
    story = Story(started(prices=BOTH))
    story.voices = False
    story.answer()
    assert story.call.spending.purse.pending == cost(SPARE_VOICE, len(PHRASES.greeting))
    for number in (1, 2):
        story.post(lambda at, number=number: ev.SpeechBought(at, number, "spare")).run()  # type: ignore[misc]
    assert story.charged(SPARE_VOICE) == cost(SPARE_VOICE, len(PHRASES.greeting))
    assert story.charged(TTS) == 0


def test_the_end_waits_to_hear_whether_speech_was_bought() -> None:
    story = speaking().carrier_done()
    story.run(500)
    assert story.phase() is Phase.HUNG_UP
    story.post(lambda at: ev.SpeechBought(at, 3, "spare"))
    end = story.end()
    assert story.charged(SPARE_VOICE) == cost(SPARE_VOICE, len("Hello you."))
    assert end.total == story.audit.total


def test_but_not_for_ever() -> None:
    story = speaking().carrier_done()
    hung_up = story.now
    story.end()
    assert story.now == hung_up + 10_000
    assert story.charged(SPARE_VOICE) == 0


# -- none left -------------------------------------------------------------------------


def test_when_no_voice_is_left_the_caller_is_told_from_stock_and_the_call_ends() -> None:
    story = speaking()
    story.voices = True
    failed(story, "tts", 3, "all_down")
    assert story.said()[-1] == PHRASES.trouble
    assert story.end().reason is EndReason.ENGINE_FAILURE
    assert story.heard()[-1] == f"a: {PHRASES.trouble}"


def test_when_no_model_is_left_too() -> None:
    story = told().reply(hangs=True).say("Hello there.", ms=900).run(1_500)
    failed(story, "llm", 1, "all_down")
    assert story.said()[2:] == [PHRASES.trouble]
    assert story.end().reason is EndReason.ENGINE_FAILURE


def test_a_transcriber_may_come_back_so_the_caller_is_asked_to_say_it_again() -> None:
    story = failed(told(), "stt", 0, "all_down")
    assert story.said()[2:] == [PHRASES.apology]
    assert len(story.all(fx.Listen)) == 2
    for _ in range(2):
        story.run(4_000)
        failed(story, "stt", 0, "all_down")
    assert story.said()[-1] == PHRASES.trouble
    assert story.end().reason is EndReason.ENGINE_FAILURE


def test_a_transcriber_that_fails_while_the_agent_speaks_is_opened_again_without_a_word() -> None:
    """The apology used to be said in the middle of the reply."""
    story = told().reply("One thing first. ", "And another. ", "And a third.", first_ms=300)
    story.say("Go on.", ms=500).run(1_320)
    failed(story, "stt", 0, "failed").run(9_000)
    assert story.said()[2:] == ["One thing first.", "And another.", "And a third."]
    assert len(story.all(fx.Listen)) == 2


def test_a_voice_that_fails_takes_the_rest_of_its_reply_with_it() -> None:
    """ "Could you say that again?" is not followed by what was not to be said again."""
    story = told().reply("One thing first. ", *["And another. "] * 50, first_ms=300)
    story.voices = False
    story.say("Go on.", ms=500).run(1_320)
    failed(story, "tts", 3, "failed")
    story.voices = True
    said = len(story.said())
    assert story.said()[-1] == PHRASES.apology
    story.run(6_000)
    assert len(story.said()) == said
    assert story.all(fx.DropReply) == [fx.DropReply(1)]


def three_sentences() -> Story:
    """All of a reply waits to be spoken."""
    story = told().reply("One thing first. ", "And another. ", "And a third.", first_ms=300)
    story.voices = False
    story.say("Go on.", ms=500).run(1_500)
    assert story.said()[2:] == ["One thing first.", "And another.", "And a third."]
    return story


def test_a_voice_that_is_away_for_a_moment_is_one_failure_however_much_of_the_reply_waits() -> None:
    """Each sentence counted, so that three of them ended the call."""
    story = three_sentences()
    for utterance in (3, 4, 5):
        failed(story, "tts", utterance, "retryable")
    assert story.said()[5:] == [PHRASES.apology]
    assert story.phase() is Phase.SPEAKING
    # An apology that nobody hears excuses nothing.
    failed(story, "tts", 6, "retryable")
    failed(story, "tts", 7, "retryable")
    assert story.said()[6:] == [PHRASES.apology, PHRASES.trouble]


def test_but_when_no_voice_is_left_the_rest_is_not_waited_for() -> None:
    story = three_sentences()
    failed(story, "tts", 3, "failed")
    failed(story, "tts", 4, "all_down")
    assert story.said()[5:] == [PHRASES.apology, PHRASES.trouble]
    story.voices = True
    assert story.end().reason is EndReason.ENGINE_FAILURE


def test_speech_that_nobody_waits_for_any_more_fails_unnoticed() -> None:
    story = failed(told(), "tts", 2, "failed").run(500)
    assert story.said() == [PHRASES.disclosure, PHRASES.greeting]
