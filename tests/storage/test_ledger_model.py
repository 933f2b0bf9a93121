"""The ledger against a model of it: whatever happens in whatever order, nobody is charged beyond a hold.

Each example runs in one transaction that is rolled back, so examples do not see each other.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from pipeline.core.money import Nanos
from pipeline.core.tariff import PriceBook, cost
from storage import calls, ledger
from storage.audit import audit
from storage.db import Database, Tx
from storage.ledger import CallCharges
from storage.records import Fenced, User
from tests.storage.world import LINES, NOON, book, call, charges, completed, person, tile

Step = tuple[str, int, int]


@dataclass(slots=True)
class CallModel:
    """A call as the plain rules have it."""

    id: str
    owner: int
    hold: int = 0
    epoch: int = 1
    seq: int = 0
    total: int = 0
    final: bool = False
    quantities: dict[str, int] = field(default_factory=dict)
    last_batch: CallCharges | None = None


@dataclass(slots=True)
class Model:
    """Two users, four calls, and what each has and owes."""

    users: list[User]
    calls: list[CallModel]
    prices: PriceBook
    balances: list[int]
    held: list[int]
    losses: int = 0
    grants: int = 0


async def begin(tx: Tx) -> Model:
    prices = await book(tx)
    users = [await person(tx), await person(tx)]
    placed = [CallModel((await call(tx, users[n % 2], prices=prices)).id, n % 2) for n in range(4)]
    return Model(users, placed, prices, [0, 0], [0, 0])


async def grant(tx: Tx, model: Model, who: int, amount: int) -> None:
    user = who % 2
    model.grants += 1
    for first in (True, False):
        assert first is await ledger.grant(
            tx, user_id=model.users[user].id, amount=Nanos(amount * 1_000_000), kind="purchase",
            idem_key=f"grant:{model.grants}:{model.users[0].id}", now=NOON,
        )  # fmt: skip
    model.balances[user] += amount * 1_000_000


async def hold(tx: Tx, model: Model, which: int, amount: int) -> None:
    of_call = model.calls[which]
    wanted, at_least, limit = amount * 1_000_000, amount * 500_000, 40_000_000 if which % 2 else None
    granted = await ledger.hold(
        tx, user_id=model.users[of_call.owner].id, call_id=of_call.id, epoch=of_call.epoch, at_least=Nanos(at_least),
        wanted=Nanos(wanted), budget_limit=None if limit is None else Nanos(limit),
    )  # fmt: skip
    if of_call.hold or of_call.final:
        assert granted == (0 if of_call.final else of_call.hold)
        return
    free = model.balances[of_call.owner] - model.held[of_call.owner]
    expected = min(wanted, free, wanted if limit is None else limit)
    assert granted == (expected if expected >= at_least else 0)
    of_call.hold = granted
    model.held[of_call.owner] += granted


async def buy(tx: Tx, model: Model, which: int, amount: int, *, beyond: bool = False) -> None:
    """A flush of two charges; one that the hold cannot pay is not made, as a call would not make it."""
    of_call = model.calls[which]
    made = []
    seq, total, quantities = of_call.seq, of_call.total, dict(of_call.quantities)
    for line, step in ((LINES["tts"], amount), (LINES["carrier"], 60)):
        begin = quantities.get(line, 0)
        bought = tile(model.prices, seq + 1, line, begin, begin + step)
        if not beyond and total + bought.nano > of_call.hold:
            continue
        seq, total, quantities[line] = seq + 1, total + bought.nano, begin + step
        made.append(bought)
    batch = charges(of_call.id, made, epoch=of_call.epoch)
    lost = await ledger.flush(tx, [batch])
    if of_call.final:
        assert lost == ([of_call.id] if made else [])
        return
    assert lost == []
    of_call.seq, of_call.total, of_call.quantities = seq, total, quantities
    of_call.last_batch = batch


async def give_back(tx: Tx, model: Model, which: int) -> None:
    """The carrier counted a minute less: the last thing that happens to a call before it is settled."""
    of_call = model.calls[which]
    line = LINES["carrier"]
    begin = of_call.quantities.get(line, 0)
    if of_call.final or not begin:
        return
    back = tile(model.prices, of_call.seq + 1, line, begin, begin - 60)
    assert await ledger.flush(tx, [charges(of_call.id, [back], epoch=of_call.epoch)]) == []
    of_call.seq, of_call.total = of_call.seq + 1, of_call.total + back.nano
    of_call.quantities[line] = begin - 60


async def settle(tx: Tx, model: Model, which: int, epoch: int) -> None:
    of_call = model.calls[which]
    owner = of_call.owner
    if not of_call.final and epoch != of_call.epoch:
        with pytest.raises(Fenced):
            await ledger.finalise(tx, call_id=of_call.id, epoch=epoch, now=NOON)
        return
    await completed(tx, of_call.id)
    final = await ledger.finalise(tx, call_id=of_call.id, epoch=epoch, now=NOON)
    paid = min(of_call.total, of_call.hold)
    assert (final.total, final.from_user, final.operator) == (of_call.total, paid, of_call.total - paid)
    if not of_call.final:
        of_call.final = True
        model.balances[owner] -= paid
        model.held[owner] -= of_call.hold
        model.losses += of_call.total - paid


async def perform(tx: Tx, model: Model, step: Step) -> None:
    name, which, amount = step
    of_call = model.calls[which]
    match name:
        case "grant":
            await grant(tx, model, which, amount)
        case "hold":
            await hold(tx, model, which, amount)
        case "buy":
            await buy(tx, model, which, amount)
        case "overrun":
            await buy(tx, model, which, amount, beyond=True)
            await settle(tx, model, which, of_call.epoch)
        case "refund":
            await give_back(tx, model, which)
            await settle(tx, model, which, of_call.epoch)
        case "repeat" if of_call.last_batch is not None and of_call.last_batch.epoch == of_call.epoch:
            assert await ledger.flush(tx, [of_call.last_batch]) == []
        case "zombie":
            old = charges(of_call.id, [tile(model.prices, of_call.seq + 1, LINES["tts"], 0, amount)], epoch=0)
            assert await ledger.flush(tx, [old]) == [of_call.id]
        case "take over" if not of_call.final:
            await tx.execute(text("UPDATE calls SET epoch = epoch + 1 WHERE id = :id"), {"id": of_call.id})
            of_call.epoch += 1
        case "settle":
            await settle(tx, model, which, of_call.epoch)
        case "settle late":
            await settle(tx, model, which, of_call.epoch - 1)


async def check(tx: Tx, model: Model) -> None:
    for user, balance, held in zip(model.users, model.balances, model.held, strict=True):
        found = await ledger.balance(tx, user.id)
        assert (found.balance, found.held) == (balance, held)
        assert 0 <= found.held <= found.balance
    for of_call in model.calls:
        row = await calls.get(tx, of_call.id)
        assert row is not None
        assert (row.total_nano, row.last_seq, row.final_at is not None) == (
            of_call.total,
            of_call.seq,
            of_call.final,
        )
        rated = sum(cost(model.prices.line(line), quantity) for line, quantity in of_call.quantities.items())
        assert row.total_nano == rated
    lost = (await tx.execute(text("SELECT COALESCE(SUM(amount_nano), 0) FROM operator_losses"))).scalar_one()
    assert lost == model.losses
    assert (await audit(tx)).breaches == []


NAMES = (
    "grant",
    "hold",
    "buy",
    "buy",
    "overrun",
    "refund",
    "repeat",
    "zombie",
    "take over",
    "settle",
    "settle late",
)
steps = st.tuples(st.sampled_from(NAMES), st.integers(0, 3), st.integers(1, 60))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)
@given(st.lists(steps, min_size=5, max_size=25))
async def test_the_ledger_does_what_the_rules_say(database: Database, history: list[Step]) -> None:
    async with database.write() as tx:
        savepoint = await tx.begin_nested()
        model = await begin(tx)
        await grant(tx, model, 0, 40)
        for step in history:
            await perform(tx, model, step)
        await check(tx, model)
        await savepoint.rollback()
