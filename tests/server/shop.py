"""A server that sells credit, as its customers see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.core.money import Nanos
from server.payments.cashier import Cashier
from storage import ledger
from storage.audit import audit
from tests.emulators.stripe import KEY, SECRET, StripeEmulator
from tests.server.rig import Person, Rig

DOLLAR = 1_000_000_000
WEBHOOK = "/stripe/webhook"


def configured(tmp_path: Path, stripe: StripeEmulator, **more: object) -> dict[str, object]:
    return {
        "data_dir": tmp_path, "stripe_secret_key": KEY, "stripe_webhook_secret": SECRET,
        "stripe_api_url": stripe.url, **more,
    }  # fmt: skip


def cashier(shop: Rig) -> Cashier:
    assert shop.parts.cashier is not None
    return shop.parts.cashier


async def order(person: Person, pack: str = "10", **headers: str) -> dict[str, Any]:
    answer = await person.post("/api/credits/checkout", {"pack": pack}, headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def session(stripe: StripeEmulator, made: dict[str, Any]) -> str:
    (found,) = [name for name, found in stripe.sessions.items() if found["client_reference_id"] == made["id"]]
    return found


async def status(person: Person, made: dict[str, Any]) -> tuple[str, str]:
    answer = await person.get("/api/credits/purchases")
    (found,) = [item for item in answer.json()["items"] if item["id"] == made["id"]]
    return found["status"], found["refunded_usd"]


async def balance(person: Person) -> str:
    found: str = (await person.get("/api/credits")).json()["balance_usd"]
    return found


async def spend(shop: Rig, person: Person, amount: int) -> None:
    async with shop.parts.database.write() as tx:
        await ledger.grant(
            tx, user_id=person.id, amount=Nanos(-amount), kind="grant", idem_key="spent", now=shop.clock.utc()
        )


async def breaches(shop: Rig) -> list[object]:
    async with shop.parts.database.read() as tx:
        return list((await audit(tx)).breaches)
