"""The money side of one call: what it has bought, what is asked for, and until when it is paid.

Holds the meter and the allowance together and answers in call time; the arithmetic of
cutoffs is in `budget.py`, that of prices in `tariff.py`, when more is asked for in `renewal.py`.

Nothing is bought but what is held. When the call is warned and cut off goes by its reach: what is held and
what can still be had.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.core import budget
from pipeline.core.budget import STEP_S, Clock, Outlook, Purse
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
        self._outlook: Outlook | None = None
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
        if second == 0 or self._begins(now):
            minutes = (second // STEP_S + 1) * STEP_S
            for price in self._steps:
                charges += self.meter.raise_to(price.line, minutes, second)
            if (clock := self._clock) is not None:
                charges += self.meter.raise_to(clock.price.line, second + 1 - clock.since_s, second)
        if charges:
            self._changed()
        return charges

    def _begins(self, now: Millis) -> bool:
        """Whether a second or a minute has begun that is not bought yet, and the held money pays for."""
        due, since = self._ahead.next_second, now - (self.answered or 0)
        return due is not None and due <= since < self._ahead.held_until

    @property
    def next_second(self) -> Millis | None:
        """When `run` has something to buy again, or the call's end where that comes before."""
        return self._at(self._ahead.next_second)

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
        self._purse = self._outlook = None

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
        return self._at(self._ahead.paid_until)

    @property
    def reason(self) -> EndReason:
        """Which limit the cutoff comes from; money that could be had and does not come is a failure of ours."""
        return self._ahead.reason

    @property
    def warning(self) -> Millis | None:
        """When the warning is due; already past where the percentage is reached."""
        return self._at(self._ahead.warning)

    def _at(self, since_answer: Millis | None) -> Millis | None:
        """The same in call time."""
        if self.answered is None or since_answer is None:
            return None
        return Millis(self.answered + since_answer)

    @property
    def _ahead(self) -> Outlook:
        """Asked for many times a step, and worked out once for a state of the money."""
        if self._outlook is None:
            self._outlook = self._look_ahead()
        return self._outlook

    def _look_ahead(self) -> Outlook:
        paid, held = self.purse, self._held_purse
        paid_until = budget.cutoff_at(paid)
        held_until = paid_until if held is paid else budget.cutoff_at(held)
        reason = self._ends_by(paid_until)
        return Outlook(
            paid_until=paid_until,
            held_until=held_until,
            reason=reason,
            warning=self._warning(paid_until, reason),
            next_second=self._next_second(paid_until, held_until),
            wanted_from=self._wanted_from(paid_until, held_until, reason),
        )

    def _ends_by(self, paid_until: Millis) -> EndReason:
        if self.answered is not None and paid_until >= self.purse.horizon_s * 1000:
            return EndReason.MAX_DURATION
        if self._renewal.overdue and self.allowance.reach > self.allowance.held:
            return EndReason.ENGINE_FAILURE
        return self.allowance.binds

    def _warning(self, paid_until: Millis, reason: EndReason) -> Millis | None:
        warn_used = self.allowance.warn_used
        if warn_used is not None and self.meter.nano >= warn_used:
            return Millis(0)
        return None if reason is EndReason.MAX_DURATION else budget.warn_at(paid_until)

    def _next_second(self, paid_until: Millis, held_until: Millis) -> Millis | None:
        bought = [self._bought_s] if self._steps else []
        if self._clock is not None:
            bought.append(self._clock_s)
        if not bought:
            return None
        due = Millis(min(bought) * 1000)
        return due if due < held_until else paid_until

    def _wanted_from(self, paid_until: Millis, held_until: Millis, reason: EndReason) -> Millis | None:
        """From when on more money is wanted, as things stand; None where there is enough to the call's end."""
        if not self.allowance.part:
            return None
        if self.held_rest < self.allowance.low:
            return Millis(0)
        if held_until >= self.purse.horizon_s * 1000:
            return None
        near = held_until if reason is EndReason.MAX_DURATION else paid_until - NEAR_END
        return Millis(max(0, min(near, held_until - AHEAD)))

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
        if self.answered is None or not self._renewal.due(
            Millis(now - self.answered), self._ahead.wanted_from
        ):
            return []
        self._renewal.ask(Millis(now - self.answered))
        return [RenewHold(self.allowance.part)]

    @property
    def renewal(self) -> Millis | None:
        """When to look again whether more is to be asked for, or whether an answer is overdue."""
        return self._at(self._renewal.deadline(self._ahead.wanted_from))

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
    def _bought_s(self) -> int:
        return min((self.meter.total(price.line) for price in self._steps), default=0)

    @property
    def _clock_s(self) -> int:
        return 0 if self._clock is None else self.meter.total(self._clock.price.line) + self._clock.since_s


def _speech(utterance: int) -> str:
    return f"speech:{utterance}"
