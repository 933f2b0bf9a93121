"""`callmeback credit`, `refund` and `audit`: money given, given back, and the books checked."""

from __future__ import annotations

import json
import shlex
from typing import Annotated

import typer

from server.commands.command import configured, fail, on_record, open_database, run


def credit(
    email: Annotated[str, typer.Argument(help="Whose account.")],
    amount: Annotated[str, typer.Argument(metavar="USD", help="Dollars, such as 12.50.")],
    note: Annotated[str, typer.Option(help="What the ledger says about it.")] = "granted by the operator",
    key: Annotated[str | None, typer.Option(help="Grant at most once under this key.")] = None,
) -> None:
    """Give an account credit."""
    from pipeline.core.money import parse_usd, usd
    from storage import ledger, users
    from storage.db import DatabaseDown
    from storage.ids import new_id

    try:
        nanos = parse_usd(amount)
    except ValueError as error:
        fail(str(error), code=2)
    if nanos == 0:
        fail("the amount is nothing", code=2)

    once = key or new_id()
    repeat = shlex.join(["callmeback", "credit", email, amount, "--note", note, "--key", once])

    async def work() -> None:
        from pipeline.clock import Clock

        async with open_database() as database:
            try:
                async with database.write() as tx:
                    user = await users.by_email(tx, email)
                    if user is None:
                        fail("there is no account with this address")
                    granted = await ledger.grant(
                        tx, user_id=user.id, amount=nanos, kind="grant", idem_key=f"grant:{once}", note=note,
                        now=Clock().utc(),
                    )  # fmt: skip
                    if granted:
                        await on_record(tx, "credit.granted", user.id, f"{usd(nanos)} USD: {note}")
                    balance = await ledger.balance(tx, user.id)
            except DatabaseDown as error:
                fail(
                    f"the database did not say whether it was granted ({error}); repeat it exactly so: {repeat}"
                )
        typer.echo(f"{'granted' if granted else 'granted before'}: balance {usd(balance.balance)} USD")

    run(work())


def refund(
    purchase: Annotated[str, typer.Argument(metavar="PURCHASE_ID", help="The credit pack that was bought.")],
    amount: Annotated[
        str | None,
        typer.Argument(metavar="[USD]", help="Dollars, such as 2.50; all that is left unless said."),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Refund at most once under this key.")] = None,
) -> None:
    """Give a purchase back to the customer's card, and take its credit off the balance."""
    from pipeline.clock import Clock
    from pipeline.core.money import usd
    from server.payments.cashier import cents, open_cashier, unavailable
    from storage.purchases import NANOS_PER_CENT

    try:
        wanted = None if amount is None else cents(amount)
    except ValueError as error:
        fail(str(error), code=2)

    async def work() -> None:
        async with open_database() as database:
            cashier = open_cashier(configured(), database, Clock())
            if cashier is None:
                raise unavailable()
            try:
                done = await cashier.refund(purchase, wanted, key)
            except LookupError:
                fail("there is no purchase with this id")
            finally:
                await cashier.aclose()
            async with database.write() as tx:
                await on_record(
                    tx,
                    "purchase.refunded",
                    done.id,
                    f"{usd(done.reversed_cents * NANOS_PER_CENT)} USD in all",
                )
        back, whole = (usd(part * NANOS_PER_CENT) for part in (done.reversed_cents, done.amount_cents))
        lost = f", {usd(done.lost_nano)} were spent already" if done.lost_nano else ""
        typer.echo(f"{back} of {whole} USD refunded: {usd(done.taken_nano)} taken off the balance{lost}")

    run(work())


def audit(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole report as one JSON document.")
    ] = False,
) -> None:
    """Check the books against every invariant of the ledger. Exits 1 on any breach."""
    from rich.console import Console

    from server.commands.books import plain, show
    from storage.audit import AuditReport
    from storage.audit import audit as run_audit

    async def work() -> AuditReport:
        async with open_database() as database, database.read() as tx:
            return await run_audit(tx)

    report = run(work())
    if as_json:
        typer.echo(json.dumps(plain(report)))
    else:
        show(Console(), report)
    raise typer.Exit(1 if report.breaches else 0)
