"""How a call is ended at its carrier: until it says that it did, for no books are closed over a leg that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.carriers.base import Leg
from pipeline.clock import Clock, run_virtual
from pipeline.core import events as ev
from pipeline.core.call import UNSAID
from pipeline.core.effects import HangUp, Hush, Say, TurnTaken, Warned
from pipeline.core.errors import CarrierError
from pipeline.core.money import Millis, Nanos
from pipeline.core.terms import EndReason
from pipeline.journal_file import JournalFile
from server.calls.outside import Outside
from server.money.flush import Account, Flush
from server.news import Item, News
from storage.db import Database, database_url
from storage.notes import Unheard

LONGEST_S = 300.0
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LOST = CarrierError("no answer", retryable=True)
UNKNOWN = CarrierError("no such call", code=20404)
RINGING, DONE = Leg("CA1", "ringing", 0), Leg("CA1", "completed", 2)
UNCOUNTED = Leg("CA1", "completed", None)


@dataclass
class Deaf:
    """A carrier whose answers are given: those to hang-ups, and those to look-ups. The last one stays."""

    hang_ups: Sequence[CarrierError | None]
    look_ups: Sequence[CarrierError | Leg] = (DONE,)
    asked: list[float] = field(default_factory=list)
    looked: int = 0

    async def hang_up(self, sid: str) -> None:
        self.asked.append(asyncio.get_running_loop().time())
        answer = self.hang_ups[min(len(self.asked), len(self.hang_ups)) - 1]
        if answer is not None:
            raise answer

    async def fetch(self, sid: str) -> Leg:
        self.looked += 1
        answer = self.look_ups[min(self.looked, len(self.look_ups)) - 1]
        if isinstance(answer, CarrierError):
            raise answer
        return answer


@dataclass
class Told:
    ends: list[tuple[str, int]] = field(default_factory=list)
    silent: list[float] = field(default_factory=list)

    def end(self, status: str, seconds: int) -> None:
        self.ends.append((status, seconds))

    def silence(self) -> None:
        self.silent.append(asyncio.get_running_loop().time())


def outside(folder: Path, carrier: Deaf, told: Told, news: News | None = None) -> Outside:
    account = Account("call", 1, JournalFile(folder / "call.journal"))
    database = Database(database_url(f"sqlite:///{folder / 'unused.db'}"), checkpoint=False)
    made = Outside(
        account, Flush(database, Clock(), News(), "node"), news or News(), carrier, told.end, told.silence,
        LONGEST_S, Clock(NOON),
    )  # fmt: skip
    made.leg("CA1")
    return made


@pytest.mark.parametrize(
    ("carrier", "ends", "tries"),
    [
        (Deaf([None]), [("completed", 2)], 1),
        (Deaf([LOST, LOST, LOST, None]), [("completed", 2)], 4),
        (Deaf([None], [LOST, DONE]), [("completed", 2)], 2),
        (Deaf([None], [RINGING, RINGING, RINGING, DONE]), [("completed", 2)], 2),
        (Deaf([None], [UNKNOWN]), [], 1),
        (Deaf([None], [UNCOUNTED, DONE]), [("completed", 2)], 1),
        (Deaf([None], [UNCOUNTED]), [("completed", UNSAID)], 1),
    ],
    ids=["at once", "hang-ups lost", "look-up lost", "rings on", "unknown", "counted later", "never counted"],
)
def test_the_carrier_is_asked_until_its_last_word_is_known(
    tmp_path: Path, carrier: Deaf, ends: list[tuple[str, int]], tries: int
) -> None:
    told = Told()
    run_virtual(outside(tmp_path, carrier, told).hang_up())
    assert (told.ends, len(carrier.asked)) == (ends, tries)


def test_a_warning_says_when_it_was_for_whoever_reads_it_later(tmp_path: Path) -> None:
    async def told() -> Item:
        news = News()
        made = outside(tmp_path, Deaf([None]), Told(), news)
        made.happened(ev.Tick(Millis(40_000)), [Warned(Millis(98_500), Nanos(2_000_000_000))])
        return await anext(news.listen("call"))

    item = run_virtual(told())
    assert (item.kind, item.data["seconds_left"]) == ("warning", 58)
    assert datetime.fromisoformat(str(item.data["at"])) == NOON


def test_the_call_is_told_of_the_silence_more_often_than_it_can_bear_it(tmp_path: Path) -> None:
    carrier, told = Deaf([LOST]), Told()
    with pytest.raises(CarrierError, match="limit"):
        run_virtual(outside(tmp_path, carrier, told).hang_up())
    between = [
        later - sooner for sooner, later in zip([carrier.asked[0], *told.silent], told.silent, strict=False)
    ]
    assert max(between) < 10.0
    assert LONGEST_S - 10.0 < told.silent[-1] - carrier.asked[0] <= LONGEST_S


def test_a_callback_ends_the_asking(tmp_path: Path) -> None:
    async def main() -> None:
        call = outside(tmp_path, carrier, told)
        asking = asyncio.create_task(call.hang_up())
        await asyncio.sleep(20.0)
        call.happened(ev.CarrierDone(Millis(0), "completed", 1), ())
        await asking

    carrier, told = Deaf([LOST]), Told()
    run_virtual(main())
    assert carrier.asked[-1] - carrier.asked[0] < 20.0
    assert told.ends == []


def test_a_leg_of_another_process_is_not_asked_for_again(tmp_path: Path) -> None:
    carrier, told = Deaf([LOST]), Told()
    call = outside(tmp_path, carrier, told)
    call.fenced()
    run_virtual(call.hang_up())
    assert len(carrier.asked) == 1


def test_an_answered_call_of_another_process_is_over_here_at_once(tmp_path: Path) -> None:
    carrier, told = Deaf([None]), Told()
    call = outside(tmp_path, carrier, told)
    call.happened(ev.Answered(Millis(0)), ())
    call.fenced()
    run_virtual(call.hang_up())
    assert (carrier.asked, told.ends) == ([], [("completed", UNSAID)])


def test_that_it_is_given_up_is_for_the_other_nodes_to_know(tmp_path: Path) -> None:
    call = outside(tmp_path, Deaf([LOST]), Told())
    assert not call._account.given_up
    call.happened(ev.Tick(Millis(0)), (HangUp(EndReason.USER_HUNG_UP),))
    assert call._account.given_up


def test_what_was_not_heard_is_noted_with_its_turn(tmp_path: Path) -> None:
    call = outside(tmp_path, Deaf([LOST]), Told())
    turn = TurnTaken(0, "agent", "How are", Millis(0), Millis(9), interrupted=True)
    call.happened(ev.Tick(Millis(0)), (Say(1, "How are you?"),))
    call.happened(ev.SpeechHeld(Millis(9)), (Hush(), turn))
    assert call._account.notes == [turn, Unheard(0, "you?")]
