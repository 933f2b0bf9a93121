"""Replay at level 1: exact, or the first line that differs, by its number."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import effects as fx
from pipeline.core import events as ev
from pipeline.core.errors import JournalError
from pipeline.core.journal import effect_line, event_line, is_effect, parse_effect, parse_event
from pipeline.core.money import Millis, Nanos
from pipeline.core.terms import EndReason
from pipeline.journal_file import frame, read_lines
from pipeline.replay import Difference, replay, rerun
from tests.core.story import started
from tests.pipeline.rig import Stage, act, line, speech


def whole_call() -> list[str]:
    stage = Stage(hears=["What is new?"], answers=["Not much. And you?"], stays=3.0)
    return act(stage, line(4.0, speech(1.0), 3.0)).lines


CALL = whole_call()


def where(kind: type[fx.Effect]) -> int:
    """The index of the first such effect."""
    return next(
        index for index, one in enumerate(CALL) if is_effect(one) and isinstance(parse_effect(one), kind)
    )


def test_a_call_replays_exactly() -> None:
    result = replay(CALL)
    assert result.exact
    assert result.steps == sum(not is_effect(one) for one in CALL)
    assert result.millis == parse_event([one for one in CALL if not is_effect(one)][-1]).at > 7_000


def test_rerun_gives_each_step_with_its_effects() -> None:
    again = [
        text for step, effects in rerun(CALL) for text in (event_line(step.event), *map(effect_line, effects))
    ]
    assert again == CALL


@pytest.mark.parametrize(
    "kind", [fx.Charge, fx.Say, fx.AskReply, fx.TurnTaken, fx.Ended, fx.HangUp, fx.Prepare]
)
def test_a_changed_effect_is_named_with_both_sides(kind: type[fx.Effect]) -> None:
    at = where(kind)
    effect = parse_effect(CALL[at])
    match effect:
        case fx.Charge():
            other: fx.Effect = replace(effect, nano=Nanos(effect.nano + 1))
        case fx.Say() | fx.TurnTaken():
            other = replace(effect, text=effect.text + "!")
        case fx.AskReply():
            other = replace(effect, max_tokens=effect.max_tokens + 1)
        case fx.Ended() | fx.HangUp():
            other = replace(effect, reason=EndReason.BUDGET)
        case _:
            other = fx.Prepare(())
    changed = [*CALL[:at], effect_line(other), *CALL[at + 1 :]]
    assert replay(changed).difference == Difference(at + 1, effect_line(other), CALL[at])


def test_an_effect_that_was_not_recorded_is_named() -> None:
    at = where(fx.AskReply)
    result = replay([*CALL[:at], *CALL[at + 1 :]])
    assert result.difference == Difference(at + 1, None, CALL[at])


def test_an_effect_that_no_longer_happens_is_named() -> None:
    at = where(fx.AskReply)
    extra = effect_line(fx.Hush())
    result = replay([*CALL[: at + 1], extra, *CALL[at + 1 :]])
    assert result.difference == Difference(at + 2, extra, None)


def test_two_effects_in_another_order_differ_at_the_first() -> None:
    at = where(fx.Prepare)
    result = replay([*CALL[:at], CALL[at + 1], CALL[at], *CALL[at + 2 :]])
    assert result.difference == Difference(at + 1, CALL[at + 1], CALL[at])


def test_only_the_first_difference_counts() -> None:
    """What follows answers questions that were not asked, so it is not compared."""
    first, last = where(fx.Say), where(fx.Ended)
    changed = list(CALL)
    changed[first], changed[last] = effect_line(fx.Hush()), effect_line(fx.Hush())
    result = replay(changed)
    assert result.difference is not None
    assert result.difference.line == first + 1
    assert result.millis < replay(CALL).millis
    assert result.steps < replay(CALL).steps


def test_a_changed_event_shows_in_what_it_leads_to() -> None:
    at = next(index for index, one in enumerate(CALL) if '"SegmentHeard"' in one)
    heard = parse_event(CALL[at])
    assert isinstance(heard, ev.SegmentHeard)
    result = replay([*CALL[:at], event_line(replace(heard, text="Something else.")), *CALL[at + 1 :]])
    assert result.difference is not None
    assert result.difference.line > at
    assert "Something else." in (result.difference.replayed or "")


def test_other_prices_make_another_call() -> None:
    start = started()
    dearer = replace(start, prices=(replace(start.prices[0], price_nano=15_000_000), *start.prices[1:]))
    result = replay([event_line(dearer), *CALL[1:]])
    assert result.difference is not None
    assert '"Charge"' in (result.difference.recorded or "")


def test_a_call_cut_short_by_a_kill_replays_as_far_as_it_goes() -> None:
    ends = [index for index, one in enumerate(CALL) if not is_effect(one)]
    for end in ends[1::7]:
        assert replay(CALL[:end]).exact


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["E not json"],
        ["# another file"],
        CALL[1:],
        [effect_line(fx.Hush())],
        [event_line(ev.Answered(Millis(0)))],
        ['E {"type":"CallStarted","at":0}'],
        [*CALL, 'E {"type":"FromTheFuture","at":1}'],
        [*CALL, "garbage"],
    ],
)
def test_what_is_no_journal_is_refused(lines: list[str]) -> None:
    with pytest.raises(JournalError):
        replay(lines)


@given(st.lists(st.one_of(st.text(max_size=30), st.sampled_from(CALL)), max_size=12))
def test_any_lines_replay_or_are_refused(lines: list[str]) -> None:
    with suppress(JournalError):
        replay(lines)


def test_a_damaged_file_names_its_line(tmp_path: Path) -> None:
    data = bytearray(b"".join(frame(one) for one in CALL))
    third = data.index(b"\n", data.index(b"\n") + 1) + 1
    data[third + 20] ^= 1
    path = tmp_path / "1.journal"
    path.write_bytes(data)
    with pytest.raises(JournalError, match="line 3"):
        read_lines(path)
