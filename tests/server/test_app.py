"""Starting and stopping: what refuses to start, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from pipeline.ports import Engines
from server.app import NoDesk, build
from server.parts import Parts, Placing, State
from server.settings import load
from server.signatures import sign
from storage.lockfile import DataDirBusy
from tests.server.rig import SECRET, running, settings


async def test_ready_between_start_and_end(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    tasks = len(asyncio.all_tasks())
    async with running(settings(tmp_path)) as rig:
        assert (await rig.http.get("/readyz")).json() == {"state": "ready", "database": True}
        rig.parts.state = State.DRAINING
        draining = await rig.http.get("/readyz")
        assert (draining.status_code, draining.json()["state"]) == (503, "draining")
        assert (await rig.http.get("/healthz")).status_code == 200
        parts = rig.parts
    assert parts.state is State.DRAINING
    assert len(asyncio.all_tasks()) == tasks
    # A connection's thread says that it is done just before it ends; the loop's own end with the loop.
    left = [thread for thread in threading.enumerate() if thread not in threads]
    left = [thread for thread in left if not thread.name.startswith("asyncio_")]
    for thread in left:
        thread.join(5)
    assert not [thread.name for thread in left if thread.is_alive()]


async def test_a_second_server_on_one_sqlite_file_is_refused(tmp_path: Path) -> None:
    async with running(settings(tmp_path)):
        with pytest.raises(DataDirBusy, match="already served"):
            async with running(settings(tmp_path)):
                pass
    async with running(settings(tmp_path)) as rig:
        assert (await rig.http.get("/readyz")).status_code == 200


async def test_the_desk_is_opened_last_and_closed_first(tmp_path: Path) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def open_desk(parts: Parts, engines: Engines | None) -> AsyncIterator[Placing]:
        assert engines is None
        async with parts.database.read():
            seen.append(f"open {parts.state}")
        yield NoDesk()
        async with parts.database.read():
            seen.append(f"closed {parts.state}")

    async with running(settings(tmp_path), open_desk) as rig:
        assert rig.parts.state is State.READY
    assert seen == ["open starting", "closed draining"]


async def test_what_was_opened_is_closed_when_a_later_part_fails(tmp_path: Path) -> None:
    @asynccontextmanager
    async def broken(parts: Parts, _engines: Engines | None) -> AsyncIterator[Placing]:
        if parts.state is State.STARTING:
            raise RuntimeError("no engines")
        yield NoDesk()

    with pytest.raises(RuntimeError, match="no engines"):
        async with running(settings(tmp_path), broken):
            pass
    async with running(settings(tmp_path)) as rig:
        assert rig.parts.state is State.READY


async def test_without_any_setting_the_carrier_is_simulated_and_the_secret_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = build(load({"DATA_DIR": str(tmp_path / "new")}))
    async with app.router.lifespan_context(app):
        parts: Parts = app.state.parts
        await parts.carrier.send_sms("+12025550142", "123456 is your code.")
    for folder in (tmp_path / "new", tmp_path / "new" / "calls"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / "jwt_secret").stat().st_mode & 0o777 == 0o600
    assert "Text message to +12025550142: 123456" in capsys.readouterr().out


ORIGIN = "https://voice.example"
TWILIO = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "present", "TWILIO_PHONE_NUMBER": "+12025550100",
    "PUBLIC_URL": ORIGIN, "JWT_SECRET": SECRET,
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "believed"),
    [({}, ["present"]), ({"TWILIO_AUTH_TOKEN_PREVIOUS": "former"}, ["present", "former"])],
)
async def test_while_the_carriers_token_is_replaced_it_may_sign_by_either(
    tmp_path: Path, more: dict[str, str], believed: list[str]
) -> None:
    app = build(load({**TWILIO, **more, "DATA_DIR": str(tmp_path)}))
    fields = [("AccountSid", TWILIO["TWILIO_ACCOUNT_SID"]), ("CallSid", "CA" + "0" * 32)]
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as http:
        for token in ("present", "former", "another"):
            signature = sign(token, f"{ORIGIN}/twilio/stream", fields)
            answer = await http.post(
                f"{ORIGIN}/twilio/stream", data=dict(fields), headers={"x-twilio-signature": signature}
            )
            assert answer.status_code == (204 if token in believed else 403), token
