"""A real server as its own process, a real Chromium, and a watch on what its pages must not do.

The engines are the local ones and time is real: what a page plays here is what a person would hear.

Long because every watch on a page stands beside the server and the browser it needs.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    Route,
    async_playwright,
    expect,
)
from sqlalchemy import insert

from pipeline.audio import mulaw
from pipeline.audio.resample import resample
from pipeline.audio.wav import read_wav
from pipeline.core.money import parse_usd
from server.zones import tzdata_version
from storage import ledger, schedules, users
from storage.db import Database
from storage.tables import nodes
from tests.ports import free_port
from tests.storage.world import ready

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PASSWORD = "correct horse"
PATIENCE_S = 30.0
DESKTOP, PHONE = (1280, 800), (390, 844)
MICROPHONE_RATE = 48_000
WAIT_MS = 20_000
"""For what a page has to wait for; nothing waits as long when all is well."""

expect.set_options(timeout=WAIT_MS)
_people = itertools.count(1)


def chromium() -> str | None:
    """The Chromium of this machine; CHROMIUM names another."""
    named = os.environ.get("CHROMIUM")
    return named or next((found for name in CHROMIUMS if (found := shutil.which(name))), None)


AREAS = ("202", "212", "215", "301", "305", "404", "410", "617", "703", "718")
"""So many times a hundred numbers, which are nobody's (555-0100 to 555-0199 of an area)."""


async def lost(route: Route) -> None:
    """What was asked is done, and its answer never comes."""
    assert (await route.fetch()).ok
    await route.abort()


def phone_of(number: int) -> str:
    return f"+1{AREAS[number // 100]}55501{number % 100:02d}"


@dataclass
class Account:
    """Somebody with a session."""

    email: str
    token: str
    user: dict[str, Any]


@dataclass
class Site:
    """A `callmeback serve` on loopback."""

    url: str
    data_dir: Path
    log: Path
    process: subprocess.Popen[bytes]

    async def ask(self, method: str, path: str, body: Any = None, account: Account | None = None) -> Any:
        """Over REST, past the pages. Whatever is refused fails the test."""
        answer = await self.answer(method, path, body, account)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def answer(self, method: str, path: str, body: Any, account: Account | None) -> httpx.Response:
        headers = {} if account is None else {"authorization": f"Bearer {account.token}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=PATIENCE_S) as http:
            return await http.request(method, path, json=body)

    async def account(self, *, usd: str = "5", phone: bool = False, name: str = "Jordan") -> Account:
        number = next(_people)
        body = {"email": f"p{number}@example.com", "password": PASSWORD, "name": name, "timezone": "UTC"}
        made = await self.ask("POST", "/api/auth/register", body)
        account = Account(body["email"], made["token"], made["user"])
        if usd != "0":
            await self.grant(account.user["id"], usd)
        if phone:
            await self.ask("POST", "/api/me/phone", {"phone": phone_of(number)}, account)
            texts = await self.ask("GET", "/api/simulation/texts", None, account)
            code = texts["items"][0]["body"].split()[0]
            account.user = await self.ask("POST", "/api/me/phone/verify", {"code": code}, account)
        return account

    async def promote(self, account: Account) -> None:
        """What `callmeback admin` does, without starting a process for it."""
        database = Database.open(f"sqlite:///{self.data_dir / 'callmeback.db'}", checkpoint=False)
        async with database.write() as tx:
            await users.update(tx, account.user["id"], role="admin")
        await database.aclose()

    async def silent_node(self, *, lived_s: float) -> None:
        """One that has given no sign of life for a minute, and lived so long before."""
        database = Database.open(f"sqlite:///{self.data_dir / 'callmeback.db'}", checkpoint=False)
        async with database.write() as tx:
            last = datetime.now(UTC) - timedelta(minutes=1)
            row = {"boot_id": "silent", "started_at": last - timedelta(seconds=lived_s), "heartbeat_at": last}
            await tx.execute(insert(nodes).values(row))
        await database.aclose()

    async def missed(self, account: Account) -> None:
        """A scheduled call that was due while no server was there, as the next one to come finds it."""
        database = Database.open(f"sqlite:///{self.data_dir / 'callmeback.db'}", checkpoint=False)
        async with database.write() as tx:
            late = datetime.now(UTC) - timedelta(hours=1)
            values = {"persona_id": "brad", "due_at": late, "tzdata": tzdata_version(), "retries": 0}
            await schedules.add(tx, account.user["id"], values, late)
        await database.aclose()
        while not (await self.ask("GET", "/api/missed-calls", None, account))["items"]:
            pass

    async def canceled(self, account: Account, number: int) -> None:
        """So many scheduled calls, made just now and given up."""
        database = Database.open(f"sqlite:///{self.data_dir / 'callmeback.db'}", checkpoint=False)
        async with database.write() as tx:
            now = datetime.now(UTC)
            values = {"persona_id": "brad", "due_at": now + timedelta(days=1), "status": "canceled"}
            for _ in range(number):
                await schedules.add(tx, account.user["id"], values, now)
        await database.aclose()

    async def unrung(self, account: Account, code: str) -> None:
        """They were told on the telephone that they are rung back, and were not, for that problem."""
        database = Database.open(f"sqlite:///{self.data_dir / 'callmeback.db'}", checkpoint=False)
        async with database.write() as tx:
            await users.note_call_back(tx, account.user["id"], code, datetime.now(UTC))
        await database.aclose()

    async def grant(self, user_id: str, usd: str) -> None:
        """What `callmeback credit` does, without starting a process for it."""
        database = Database.open(f"sqlite:///{self.data_dir / 'callmeback.db'}", checkpoint=False)
        async with database.write() as tx:
            key, now = f"test:{user_id}:{next(_people)}", datetime.now(UTC)
            await ledger.grant(
                tx, user_id=user_id, amount=parse_usd(usd), kind="grant", idem_key=key, now=now
            )
        await database.aclose()


@contextmanager
def serving(data_dir: Path, port: int | None = None, /, **environ: str) -> Iterator[Site]:
    """Up until the context is left. Calls are recorded; `environ`: further settings."""
    port, log = port or free_port(), data_dir / "server.log"
    own = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ
    }
    settings = {
        "DATA_DIR": str(data_dir),
        "PORT": str(port),
        "RECORD_CALLS": "true",
        "BCRYPT_COST": "10",
        "REGISTRATIONS_PER_IP": "1000",
        "DRAIN_SECONDS": "0",
    }
    ready(f"sqlite:///{data_dir / 'callmeback.db'}")
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "server.cli", "serve"],
            env={**own, **settings, **environ},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        site = Site(f"http://127.0.0.1:{port}", data_dir, log, process)
        try:
            _until_ready(site, process)
            yield site
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()


def _until_ready(site: Site, process: subprocess.Popen[bytes]) -> None:
    """A start on a busy machine takes its time; a server that has ended says why in its log."""
    with httpx.Client(transport=httpx.HTTPTransport(retries=3), timeout=PATIENCE_S) as http:
        while True:
            try:
                assert http.get(f"{site.url}/readyz").status_code == 200
                return
            except httpx.ConnectError:
                assert process.poll() is None, site.log.read_text()


def spoken(path: Path, lines: Sequence[tuple[float, str]], end_s: float) -> Path:
    """A WAV for the microphone: recorded caller lines, each at its second; silence between, and to `end_s`."""
    sound = np.zeros(round(end_s * mulaw.RATE), np.int16)
    for at, name in lines:
        line = mulaw.decode(read_wav(Path(f"server/callers/{name}.wav")))
        start = round(at * mulaw.RATE)
        sound[start : start + len(line)] = line
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_RATE)
        file.writeframes(
            resample(sound.astype(np.float32), mulaw.RATE, MICROPHONE_RATE).astype("<i2").tobytes()
        )
    return path


async def launched(
    playwright: Playwright, microphone: Path | None = None, *, back_cache: bool = False
) -> Browser:
    """A Chromium whose microphone plays a WAV once each time it is opened.

    `back_cache`: pages that are left are kept as they were and come back by going back, as for people.
    """
    arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
    if microphone is not None:
        arguments += [
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}%noloop",
        ]
    without = ["--disable-back-forward-cache"] if back_cache else None
    return await playwright.chromium.launch(
        executable_path=chromium(), args=arguments, ignore_default_args=without
    )


@asynccontextmanager
async def speaking(microphone: Path) -> AsyncIterator[Browser]:
    """A browser with that microphone; without any on this system the tests of pages are skipped."""
    if chromium() is None:
        pytest.skip(
            "no Chromium: pages are not tried in a browser (Debian, Ubuntu: apt-get install chromium)"
        )
    async with async_playwright() as playwright:
        browser = await launched(playwright, microphone)
        yield browser
        await browser.close()


@dataclass
class Watch:
    """Errors that pages tell the console, and requests to anybody but the site."""

    site: str
    also: tuple[str, ...] = ()
    """Origins that belong to the test; what their pages say is theirs."""
    faults: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Patterns of console errors that the test provokes."""

    def on(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"{page.url}: {error}"))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        where = message.location.get("url", "")
        told = f"{message.text} ({where})"
        if message.type != "error" or where.startswith(self.also):
            return
        if not any(re.search(each, told) for each in self.expected):
            self.faults.append(told)

    def _asked(self, request: Request) -> None:
        own = ("data:", "blob:", f"{self.site}/", f"{self.site.replace('http', 'ws', 1)}/", *self.also)
        if not request.url.startswith(own):
            self.faults.append(f"a request to {request.url}")


LISTENING_IN = """
(() => {
  const connect = AudioNode.prototype.connect;
  window.played = [];
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode) {
      const tap = to.context.createScriptProcessor(4096, 1, 1);
      window.playedRate = to.context.sampleRate;
      tap.onaudioprocess = ({ inputBuffer }) => {
        window.played.push(Int16Array.from(inputBuffer.getChannelData(0), (sample) => sample * 32767));
      };
      connect.call(this, tap);
      connect.call(tap, to);
    }
    return connect.call(this, to, ...rest);
  };
})();
"""
"""Keeps a copy of all that a page sends to the speaker."""

SENDING = """
(() => {
  const send = WebSocket.prototype.send;
  window.sent = [];
  const loud = (code) => (((((~code & 0x0f) << 3) + 0x84) << ((~code & 0x70) >> 4)) - 0x84) / 32768;
  WebSocket.prototype.send = function (data) {
    window.line = this;
    if (data instanceof Uint8Array) window.sent.push(Math.max(...data.map((code) => loud(code) * 255)));
    return send.call(this, data);
  };
})();
"""
"""Notes how loud each frame is that a page sends to the server (0..255), and keeps the socket."""

SIGNED_IN = """
if (location.origin === %s && !sessionStorage.getItem("tests.signed-in")) {
  sessionStorage.setItem("tests.signed-in", "yes");
  sessionStorage.setItem("callmeback.token", %s);
}
"""


@dataclass
class Visit:
    """A browser profile of its own with one tab open."""

    page: Page
    watch: Watch
    site: Site

    async def go(self, path: str) -> Page:
        """To a page of the site, until it has shown its content."""
        await self.page.goto(self.site.url + path)
        await self.settled()
        return self.page

    async def settled(self) -> None:
        """Until the page has shown its content and nothing moves any more."""
        await self.page.locator("#content .loading").wait_for(state="detached", timeout=WAIT_MS)
        await self.page.wait_for_function(
            "() => document.getAnimations().every((each) => each.playState !== 'running')"
        )

    async def tab(self) -> Page:
        """A second tab of the same profile; nobody is signed in there."""
        page = await self.page.context.new_page()
        self.watch.on(page)
        page.set_default_timeout(WAIT_MS)
        return page

    async def played(self) -> bytes:
        """All that this tab sent to the speaker since it was loaded, as 8 kHz mu-law."""
        found = await self.page.evaluate(
            """async () => {
              const url = await new Promise((resolve) => {
                const reader = new FileReader();
                reader.onload = () => resolve(reader.result);
                reader.readAsDataURL(new Blob(window.played));
              });
              return [url.slice(url.indexOf(",") + 1), window.playedRate ?? 0];
            }"""
        )
        samples = np.frombuffer(base64.b64decode(found[0]), "<i2").astype(np.float32)
        assert len(samples) > 0, "nothing was played"
        return mulaw.encode(np.asarray(resample(samples, int(found[1]), mulaw.RATE), np.int16))


@asynccontextmanager
async def visiting(
    browser: Browser,
    site: Site,
    account: Account | None = None,
    *,
    dark: bool = False,
    size: tuple[int, int] = DESKTOP,
    also: Sequence[str] = (),
) -> AsyncIterator[Visit]:
    """Fails at the end if any page said an error or asked somebody else. `also`: origins that belong to the test."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        locale="en-US",
        timezone_id="UTC",
        has_touch=size == PHONE,
        permissions=["microphone"],
    )
    try:
        await context.add_init_script(LISTENING_IN)
        if account is not None:
            await context.add_init_script(SIGNED_IN % (json.dumps(site.url), json.dumps(account.token)))
        page, watch = await context.new_page(), Watch(site.url, tuple(f"{origin}/" for origin in also))
        page.set_default_timeout(WAIT_MS)
        watch.on(page)
        yield Visit(page, watch, site)
        assert not watch.faults, "\n".join(watch.faults)
    finally:
        await context.close()
