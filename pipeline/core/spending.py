"""The money side of one call: what it has bought, what is asked for, and until when it is paid.

Holds the meter and the allowance together and answers in call time; the arithmetic of
cutoffs is in `budget.py`, that of prices in `tariff.py`, when more is asked for in `renewal.py`.

Nothing is bought but what is held. When the call is warned and cut off goes by its reach: what is held and
what can still be had.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.core import budget
from pipeline.core.budget import STEP_S, Clock, Purse
from pipeline.core.effects import Charge, RenewHold
from pipeline.core.events import Resumed
from pipeline.core.meter import Meter
from pipeline.core.money import Millis, Nanos
from pipeline.core.renewal import AHEAD, NEAR_END, PATIENCE, Renewal
from pipeline.core.tariff import STEP_SERVICES, Price, PriceBook, Service, Unit
from pipeline.core.terms import Allowance, EndReason, Limits

NOT_LISTENED = Millis(100)
"""A transcriber that was open for less, and counted nothing, has heard nothing."""


class Spending:
    """Nothing is charged before `answer`: ringing time is free."""

    def __init__(self, prices: tuple[Price, ...], allowance: Allowance, limits: Limits) -> None:
        self._book = PriceBook(prices)
        self._steps = tuple(price for price in prices if price.service in STEP_SERVICES)
        ears = self._book.of("stt")
        self._clock = Clock(ears[0]) if ears else None
        self._before: dict[str, int] = {}
        self._counted: dict[str, int] = {}
        self._listens: tuple[str, Millis] | None = None
        self._listened: dict[str, int] = {}
        self._unsold: dict[int, int] = {}
        self._limits = limits
        self._pending: dict[str, int] = {}
        self._purse: Purse | None = None
        self._ends: tuple[Millis, Millis] | None = None
        self._renewal = Renewal()
        self.meter = Meter(self._book)
        self.allowance = allowance
        self.answered: Millis | None = None

    def resume(self, known: Resumed, now: Millis) -> None:
        """Go on where another process left off. In between nobody listened: those seconds are not bought."""
        self._before = {bought.line: bought.quantity for bought in known.bought}
        self.meter.resume(known.seq, self._before)
        self.answered = known.answered
        if (clock := self._clock) is not None:
            heard = self.meter.total(clock.price.line)
            self._clock = Clock(clock.price, max(0, self.second(now) - heard))
        self._changed()

    # -- time --------------------------------------------------------------------------

    def second(self, now: Millis) -> int:
        """Whole seconds since the answer; 0 before it."""
        return 0 if self.answered is None else (now - self.answered) // 1000

    def answer(self, now: Millis) -> list[Charge]:
        """The callee picked up: the first minute, the first second and the machine check are bought."""
        self.answered = now
        charges = [
            charge for price in self._book.of("amd") for charge in self.meter.raise_to(price.line, 1, 0)
        ]
        self._changed()
        return charges + self.run(now)

    def run(self, now: Millis) -> list[Charge]:
        """Buy the minute and the second that have begun by `now`, unless the held money has ended."""
        if self.answered is None:
            return []
        if self._renewal.wait(Millis(now - self.answered)):
            self._changed()
        second = self.second(now)
        charges: list[Charge] = []
        if second == 0 or now < self.answered + self._held_until:
            minutes = (second // STEP_S + 1) * STEP_S
            for price in self._steps:
                charges += self.meter.raise_to(price.line, minutes, second)
            if (clock := self._clock) is not None:
                charges += self.meter.raise_to(clock.price.line, second + 1 - clock.since_s, second)
        if charges:
            self._changed()
        return charges

    @property
    def next_second(self) -> Millis | None:
        """When `run` has something to buy again, or the call's end where that comes before."""
        if self.answered is None:
            return None
        bought = [self._bought_s] if self._steps else []
        if self._clock is not None:
            bought.append(self._clock_s)
        if not bought:
            return None
        due = Millis(min(bought) * 1000)
        return Millis(self.answered + (due if due < self._held_until else self._paid_until))

    def listening(self, model: str, now: Millis) -> None:
        """Another transcriber listens from here on: its seconds run, those of the one before do not."""
        self._listened_until(now)
        price = self._book.find("stt", model, "second")
        if price is None:
            return
        self._listens = price.line, now
        if self._clock is not None and self._clock.price is price:
            return
        self._clock = Clock(price, self.second(now) - self.meter.total(price.line))
        self._changed()

    def deaf(self, now: Millis) -> None:
        """Nobody listens for the time being. The seconds run on: what was counted is known at the end."""
        self._listened_until(now)
        if self._clock is not None:
            self._listened.setdefault(self._clock.price.line, 0)

    def _listened_until(self, now: Millis) -> None:
        """While the phone rings there is nothing to hear."""
        if self._listens is not None:
            line, since = self._listens
            heard = now - max(since, now if self.answered is None else self.answered)
            self._listened[line] = self._listened.get(line, 0) + heard
            self._listens = None

    # -- limits ------------------------------------------------------------------------

    @property
    def purse(self) -> Purse:
        """Asked for several times a step, and worked out once for a state of the money."""
        if self._purse is None:
            self._purse = self._count()
        return self._purse

    def _changed(self) -> None:
        """Every change of what the purse is made of passes here."""
        self._purse = self._ends = None

    @property
    def _held_purse(self) -> Purse:
        """The same with nothing in it but what is held."""
        purse, held = self.purse, self.allowance.held
        return purse if purse.allowed == held else replace(purse, allowed=held)

    @property
    def held_rest(self) -> Nanos:
        """What of the held money may still be spent on anything but the goodbye."""
        return self._held_purse.rest

    def _count(self) -> Purse:
        allowance = self.allowance
        return Purse(
            allowed=allowance.held if self._renewal.overdue else max(allowance.held, allowance.reach),
            used=self.meter.nano,
            pending=Nanos(sum(self._pending.values())),
            steps=self._steps,
            clocks=() if self._clock is None else (self._clock,),
            bought_s=self._bought_s,
            clock_s=self._clock_s,
            reserve_s=self._limits.goodbye_ms // 1000,
            horizon_s=self._limits.max_duration_ms // 1000,
        )

    @property
    def cutoff(self) -> Millis | None:
        """The call's last paid or permitted millisecond, in call time; None before the answer."""
        if self.answered is None:
            return None
        return Millis(self.answered + self._paid_until)

    @property
    def reason(self) -> EndReason:
        """Which limit the cutoff comes from; money that could be had and does not come is a failure of ours."""
        if self.answered is not None and self._paid_until >= self.purse.horizon_s * 1000:
            return EndReason.MAX_DURATION
        if self._renewal.overdue and self.allowance.reach > self.allowance.held:
            return EndReason.ENGINE_FAILURE
        return self.allowance.binds

    @property
    def warning(self) -> Millis | None:
        """When the warning is due; already past where the percentage is reached."""
        if self.answered is None or (cutoff := self.cutoff) is None:
            return None
        warn_used = self.allowance.warn_used
        if warn_used is not None and self.meter.nano >= warn_used:
            return self.answered
        if self.reason is EndReason.MAX_DURATION:
            return None
        return Millis(self.answered + budget.warn_at(Millis(cutoff - self.answered)))

    # -- renewals ----------------------------------------------------------------------

    def change(
        self, held: Nanos, reach: Nanos, binds: EndReason, warn_used: Nanos | None, now: Millis
    ) -> None:
        """What is held and what can still be had, as of now."""
        self.allowance = replace(self.allowance, held=held, reach=reach, binds=binds, warn_used=warn_used)
        since = Millis(0) if self.answered is None else Millis(now - self.answered)
        self._renewal.answer(since, last=reach <= held)
        self._changed()

    def renew(self, now: Millis) -> list[RenewHold]:
        """Ask for the next part of the hold, if it is time to."""
        if self.answered is None or not self._renewal.due(Millis(now - self.answered), self._wanted_from):
            return []
        self._renewal.ask(Millis(now - self.answered))
        return [RenewHold(self.allowance.part)]

    @property
    def renewal(self) -> Millis | None:
        """When to look again whether more is to be asked for, or whether an answer is overdue."""
        if self.answered is None:
            return None
        due = self._renewal.deadline(self._wanted_from)
        return None if due is None else Millis(self.answered + due)

    @property
    def _wanted_from(self) -> Millis | None:
        """From when on more money is wanted, as things stand; None where there is enough to the call's end."""
        if not self.allowance.part:
            return None
        if self.held_rest < self.allowance.low:
            return Millis(0)
        if self._held_until >= self.purse.horizon_s * 1000:
            return None
        ends = self.reason is not EndReason.MAX_DURATION
        near = self._paid_until - NEAR_END if ends else self._held_until
        return Millis(max(0, min(near, self._held_until - AHEAD)))

    # -- purchases ---------------------------------------------------------------------

    def price_of(self, service: Service, unit: Unit, more: int) -> Nanos:
        """What `more` units cost at most, whichever model serves them; 0 where the call pinned no such line."""
        lines = (price.line for price in self._book.of(service) if price.unit == unit)
        return max((self.meter.price_of(line, more) for line in lines), default=Nanos(0))

    def authorise(self, ref: str, price: Nanos, now: Millis, *, announced: Millis | None) -> bool:
        """Draw the worst case of a purchase from the purse, if it can be afforded.

        `announced` is the cutoff the caller was warned of, in call time; None before the warning.
        """
        zero = now if self.answered is None else self.answered
        told = None if announced is None else Millis(announced - zero)
        if not budget.affordable(self.purse, price, Millis(now - zero), announced=told):
            return False
        # Of the held money alone, the seconds stay paid in which more of it can come and a goodbye be said.
        safe = Millis(now - zero + PATIENCE + self._limits.goodbye_ms)
        if price > max(0, self.held_rest) or not budget.lasts(self._held_purse, price, safe):
            return False
        self._pending[ref] = self._pending.get(ref, 0) + price
        self._changed()
        return True

    def spare(self, ref: str, price: Nanos) -> bool:
        """Draw the worst case of a purchase after the call from what is left, the goodbye's reserve included."""
        purse = self.purse
        if price > self.allowance.held - purse.used - purse.pending:
            return False
        self._pending[ref] = self._pending.get(ref, 0) + price
        self._changed()
        return True

    def lasts(self, price: Nanos, until: Millis) -> bool:
        """Whether the money lasts until then after a purchase, or the purchase takes no time off the call."""
        return budget.lasts(
            self.purse, price, until if self.answered is None else Millis(until - self.answered)
        )

    def release(self, ref: str, price: Nanos | None = None) -> None:
        """Give back what was drawn for a purchase, or a part of it."""
        if price is None:
            self._pending.pop(ref, None)
        elif ref in self._pending:
            self._pending[ref] = max(0, self._pending[ref] - price)
        self._changed()

    def draw_speech(self, utterance: int, chars: int) -> None:
        """Set aside what an utterance will cost once a voice has it."""
        self._unsold[utterance] = chars
        self._pending[_speech(utterance)] = self.price_of("tts", "char", chars)
        self._changed()

    def buy_speech(self, utterance: int, model: str, now: Millis) -> list[Charge]:
        """Charge an utterance's characters to the model that speaks it: once, whatever is told twice."""
        chars = self._unsold.get(utterance, 0)
        self.drop_speech(utterance)
        return self.use("tts", model, "char", chars, now)

    def drop_speech(self, utterance: int) -> None:
        """The utterance will not be bought."""
        self._unsold.pop(utterance, None)
        self.release(_speech(utterance))

    @property
    def unsold(self) -> bool:
        """Whether some utterance is neither bought nor dropped yet."""
        return bool(self._unsold)

    def move(self, ref: str, other: str, price: Nanos) -> None:
        """What was drawn for one purchase is for another from now on."""
        self._pending[ref] = max(0, self._pending.get(ref, 0) - price)
        self._pending[other] = self._pending.get(other, 0) + price

    def use(self, service: Service, model: str, unit: Unit, quantity: int, now: Millis) -> list[Charge]:
        """Charge what was really used."""
        price = self._book.find(service, model, unit)
        if price is None or quantity <= 0:
            return []
        self._changed()
        return self.meter.add(price.line, quantity, self.second(now))

    def used_line(self, line: str, total: int, now: Millis) -> list[Charge]:
        """Follow a vendor's own running total, which begins anew where a call is resumed.

        What it counts while the phone rings is not the caller's.
        """
        known = self.answered is not None and any(price.line == line for price in self._book)
        self._changed()
        total += self._before.get(line, 0)
        if known and line.startswith("stt:"):
            self._counted[line] = max(total, self._counted.get(line, 0))
        return self.meter.raise_to(line, total, self.second(now)) if known else []

    def close(self, seconds: int, now: Millis) -> list[Charge]:
        """Bring the bill to the vendors' own counts: the carrier's increments for `seconds`, the seconds heard."""
        if self.answered is None:
            return []
        self._changed()
        minutes = -(-seconds // STEP_S) * STEP_S
        self._listened_until(now)
        unheard = {
            line: self._before.get(line, 0) for line, ms in self._listened.items() if ms < NOT_LISTENED
        }
        finals = {price.line: minutes for price in self._steps} | unheard | self._counted
        return [
            charge
            for line, total in finals.items()
            for charge in self.meter.correct_to(line, total, self.second(now))
        ]

    @property
    def _paid_until(self) -> Millis:
        """The cutoff since the answer."""
        return self._both_ends[0]

    @property
    def _held_until(self) -> Millis:
        """The last second that the held money pays for, since the answer."""
        return self._both_ends[1]

    @property
    def _both_ends(self) -> tuple[Millis, Millis]:
        if self._ends is None:
            paid, held = self.purse, self._held_purse
            cutoff = budget.cutoff_at(paid)
            self._ends = cutoff, cutoff if held is paid else budget.cutoff_at(held)
        return self._ends

    @property
    def _bought_s(self) -> int:
        return min((self.meter.total(price.line) for price in self._steps), default=0)

    @property
    def _clock_s(self) -> int:
        return 0 if self._clock is None else self.meter.total(self._clock.price.line) + self._clock.since_s


def _speech(utterance: int) -> str:
    return f"speech:{utterance}"
