"""The scripted callee, frame by frame: no loop, no clock."""

from pipeline.audio.mulaw import is_loud
from pipeline.carriers.callee import (
    FRAME_BYTES,
    SILENCE,
    Act,
    Callee,
    HangUp,
    Interrupt,
    Press,
    Script,
    Silence,
    Speak,
    Vanish,
)
from tests.twilio.rig import tone

Done = bytes | Press | HangUp | Vanish


def _play(callee: Callee, agent: bytes) -> list[Done]:
    """What the callee does while this is played, 20 ms at a time."""
    return [callee.step(agent[at : at + FRAME_BYTES]) for at in range(0, len(agent), FRAME_BYTES)]


def _quiet(callee: Callee, ms: int) -> list[Done]:
    return [callee.step(b"") for _ in range(ms // 20)]


def _callee(*acts: Act) -> Callee:
    return Callee(Script(acts=acts))


def test_only_sound_is_loud() -> None:
    assert is_loud(tone(20))
    assert not is_loud(SILENCE)
    assert not is_loud(b"\x7f" * 160)
    assert not is_loud(b"\x00" * 5 + b"\xff" * 155)  # a click


def test_nothing_is_said_before_the_agent_has_spoken_and_been_quiet() -> None:
    callee = _callee(Speak(tone(40), after_quiet_ms=500))
    assert set(_quiet(callee, 5_000)) == {SILENCE}
    assert set(_play(callee, tone(1_000))) == {SILENCE}
    assert set(_quiet(callee, 480)) == {SILENCE}
    assert b"".join(frame for frame in _quiet(callee, 60) if isinstance(frame, bytes)) == tone(40) + SILENCE


def test_patience_runs_out() -> None:
    callee = _callee(Speak(tone(20), patience_ms=1_000))
    said = _quiet(callee, 1_100)
    assert said.index(tone(20)) == 50


def test_speaking_at_once() -> None:
    callee = _callee(Speak(tone(20), after_quiet_ms=0), Speak(b"\x10\x20", after_quiet_ms=0), HangUp())
    said = _quiet(callee, 80)
    assert said == [tone(20), b"\x10\x20" + b"\xff" * 158, HangUp(), SILENCE]


def test_an_interruption_counts_from_where_the_voice_began() -> None:
    callee = _callee(Interrupt(tone(40), after_agent_ms=300))
    _quiet(callee, 1_000)
    said = _play(callee, tone(1_000))
    assert said.index(tone(20)) == 15


def test_keys_silence_and_going_take_their_turns() -> None:
    callee = _callee(Silence(100), Press("5"), Silence(40), Vanish())
    said = _quiet(callee, 260)
    assert (said.index(Press("5")), said.index(Vanish())) == (5, 8)


def test_both_sides_are_kept_on_one_time_line() -> None:
    callee = _callee(Speak(tone(60), after_quiet_ms=100))
    _play(callee, tone(200))
    _quiet(callee, 300)
    assert len(callee.heard) == len(callee.said) == 500 * 8
    assert bytes(callee.heard) == tone(200) + b"\xff" * 300 * 8
    assert bytes(callee.said).index(tone(20)) == 280 * 8


def test_a_short_last_frame_is_filled_with_silence() -> None:
    callee = _callee()
    callee.step(b"\x01\x02")
    assert bytes(callee.heard) == b"\x01\x02" + b"\xff" * 158


def test_latency_is_from_the_end_of_speech_to_the_first_sound_of_the_answer() -> None:
    callee = _callee(Speak(tone(200), after_quiet_ms=400), Speak(tone(200), after_quiet_ms=400))
    _play(callee, tone(400))
    _quiet(callee, 400 + 200 + 340)  # the pause, the first line, and the answer is still awaited
    _play(callee, tone(400))
    _quiet(callee, 400 + 200 + 500)
    _play(callee, tone(400))
    _quiet(callee, 400)
    spoken = callee.own.all()
    answers = callee.agent.all()[1:]
    assert callee.latencies_ms() == [answers[0][0] - spoken[0][1], answers[1][0] - spoken[1][1]]
    assert all(300 < latency < 600 for latency in callee.latencies_ms())


def test_an_interruption_has_no_latency() -> None:
    callee = _callee(Interrupt(tone(200), after_agent_ms=200))
    _play(callee, tone(2_000))
    _quiet(callee, 1_000)
    assert callee.latencies_ms() == []


def test_audio_is_not_kept_when_nobody_wants_it() -> None:
    callee = Callee(Script(), keep_audio=False)
    _play(callee, tone(200))
    assert (len(callee.heard), len(callee.said)) == (0, 0)
    assert callee.agent.all() == [(0, 200)]
