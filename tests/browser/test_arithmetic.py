"""The console's arithmetic, run in the browser: the telephone's codec and resampler, and how money is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from pipeline.audio import mulaw
from pipeline.core.money import Nanos, parse_usd, usd
from tests.browser.rig import Site, visiting

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WORKLET = Path("server/console/static/js/phone-worklet.js").read_text("utf-8")
PHONE_RATE = 8000
STANDING_IN = """
class AudioWorkletProcessor { constructor() { this.port = { postMessage() {} }; } }
function registerProcessor() {}
const sampleRate = 48000;
"""
"""What an AudioWorkletGlobalScope gives the worklet; only its functions are called here."""


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def page(browser: Browser, site: Site) -> AsyncIterator[Page]:
    async with visiting(browser, site) as visit:
        await visit.go("/login")
        names = "({ decoded, encoded, Resampler, Phone })"
        # As an expression of the debugger, which the page's policy does not bind.
        await visit.page.evaluate(
            f"globalThis.worklet = (() => {{ {STANDING_IN}{WORKLET}; return {names}; }})()"
        )
        yield visit.page


async def test_every_code_decodes_to_the_sample_that_the_server_means(page: Page) -> None:
    found = await page.evaluate("Array.from({ length: 256 }, (_, code) => worklet.decoded(code) * 32768)")
    assert found == mulaw.decode(bytes(range(256))).tolist()


async def test_a_sweep_of_samples_is_encoded_as_the_server_encodes_it(page: Page) -> None:
    samples = np.arange(-32768, 32768, dtype=np.int16)
    found = await page.evaluate(
        "Array.from({ length: 65536 }, (_, index) => worklet.encoded((index - 32768) / 32768))"
    )
    ours, theirs = mulaw.decode(bytes(found)).astype(int), mulaw.decode(mulaw.encode(samples)).astype(int)
    # Both round to a nearest code; where a sample lies half-way between two, either will do.
    wrong = np.abs(ours - samples) > np.abs(theirs - samples) + 2
    assert not wrong.any(), samples[wrong][:10]


async def test_what_was_decoded_is_encoded_to_the_same_code(page: Page) -> None:
    found = await page.evaluate(
        "Array.from({ length: 256 }, (_, code) => worklet.encoded(worklet.decoded(code)))"
    )
    assert [code for code in range(256) if found[code] != code] in ([], [0x7F])  # two codes mean zero


async def resampled(
    page: Page, samples: Sequence[float], old: int, new: int, block: int = 128
) -> np.ndarray[Any, Any]:
    """Through the page's resampler, a block at a time as the audio thread gives them."""
    found = await page.evaluate(
        """([samples, from, to, block]) => {
          const way = new worklet.Resampler(from, to);
          const made = [];
          for (let at = 0; at < samples.length; at += block) {
            made.push(...way.take(Float32Array.from(samples.slice(at, at + block))));
          }
          return made;
        }""",
        [list(samples), old, new, block],
    )
    return np.array(found)


def tone(hertz: float, rate: int, seconds: float = 0.5) -> list[float]:
    made: list[float] = (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).tolist()
    return made


def decibels(samples: np.ndarray[Any, Any]) -> float:
    """Against the tone that went in, without the ends, where the filter begins and stops."""
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    return float(20 * np.log10(np.sqrt(np.mean(middle**2)) / (0.5 / np.sqrt(2)) + 1e-9))


@pytest.mark.parametrize("rate", [48_000, 44_100])
async def test_the_voice_s_band_passes_both_ways_and_what_is_above_does_not(page: Page, rate: int) -> None:
    for hertz in (100, 300, 1000, 2000, 3400):
        down = await resampled(page, tone(hertz, rate), rate, PHONE_RATE)
        up = await resampled(page, tone(hertz, PHONE_RATE), PHONE_RATE, rate)
        assert abs(decibels(down)) < 0.5, (hertz, decibels(down))
        assert abs(decibels(up)) < 0.5, (hertz, decibels(up))
    for hertz in (4600, 6000, 12_000):
        assert decibels(await resampled(page, tone(hertz, rate), rate, PHONE_RATE)) < -40


@pytest.mark.parametrize("rate", [48_000, 44_100])
async def test_blocks_leave_no_gap_and_no_sample_is_lost(page: Page, rate: int) -> None:
    samples = tone(440, rate)
    whole = await resampled(page, samples, rate, PHONE_RATE, block=len(samples))
    pieces = await resampled(page, samples, rate, PHONE_RATE)
    assert np.allclose(whole, pieces, atol=1e-6)
    missing = len(samples) * PHONE_RATE / rate - len(pieces)
    assert 0 <= missing <= 40, "only what the filter still looks ahead to"
    steps = np.abs(np.diff(pieces[40:]))
    assert steps.max() <= 0.5 * 2 * np.pi * 440 / PHONE_RATE * 1.05, (
        "no jump that the tone itself does not make"
    )


async def test_a_chunk_is_played_whole_then_said_to_be(page: Page) -> None:
    told = await page.evaluate(
        """(sound) => {
          const phone = new worklet.Phone();
          const told = [];
          let blocks = 0;
          phone.port.postMessage = ({ played }) => { if (played !== undefined) told.push([played, blocks]); };
          phone.told({ chunk: 7, sound: Uint8Array.from(sound.slice(0, 800)) });
          phone.told({ chunk: 8, sound: Uint8Array.from(sound.slice(800)) });
          const out = [];
          for (; blocks < 160; blocks += 1) {
            const block = new Float32Array(128);
            phone.process([[]], [[block]]);
            out.push(...block);
          }
          return [told, out];
        }""",
        list(mulaw.encode(np.array(np.array(tone(440, PHONE_RATE, 0.2)) * 32767, np.int16))),
    )
    (seven, eight), out = told[0], np.array(told[1])
    assert (seven[0], eight[0]) == (7, 8)
    assert 0.09 < seven[1] * 128 / 48_000 < 0.11
    assert 0.19 < eight[1] * 128 / 48_000 < 0.22
    loud = np.flatnonzero(np.abs(out) > 0.05)
    assert 0.19 < (loud[-1] - loud[0]) / 48_000 < 0.21
    assert np.abs(np.diff(out[loud[0] : loud[-1]])).max() < 0.06, "no gap where the chunks meet"


async def test_no_block_has_more_to_make_than_20_ms(page: Page) -> None:
    """A chunk has 400 ms: made all at once it takes longer than the audio thread has, and both directions stutter."""
    made = await page.evaluate(
        """() => {
          const phone = new worklet.Phone();
          const take = phone.up.take.bind(phone.up);
          let made = 0;
          phone.up.take = (sound) => { const found = take(sound); made += found.length; return found; };
          phone.told({ chunk: 1, sound: new Uint8Array(3200) });
          return Array.from({ length: 160 }, () => {
            made = 0;
            phone.process([[]], [[new Float32Array(128)]]);
            return made;
          });
        }"""
    )
    assert 0.39 * 48_000 < sum(made) < 0.42 * 48_000
    assert max(made) <= 0.021 * 48_000


async def test_what_is_cleared_is_silent_at_once_and_reported(page: Page) -> None:
    told, loudest = await page.evaluate(
        """() => {
          const phone = new worklet.Phone();
          const told = [];
          phone.port.postMessage = ({ played }) => { if (played !== undefined) told.push(played); };
          for (const chunk of [1, 2, 3]) phone.told({ chunk, sound: new Uint8Array(1600).fill(0) });
          for (let block = 0; block < 10; block += 1) phone.process([[]], [[new Float32Array(128)]]);
          phone.told({ clear: true });
          const after = new Float32Array(128);
          phone.process([[]], [[after]]);
          return [told, Math.max(...after.map(Math.abs))];
        }"""
    )
    assert sorted(told) == [1, 2, 3]
    assert loudest == 0


# -- money as it is written -----------------------------------------------------------------

AMOUNTS = (
    "0",
    "0.000000001",
    "0.0009",
    "0.014",
    "0.0933",
    "0.27",
    "1",
    "1.005",
    "12.345678901",
    "987654321.99",
)


async def formats(page: Page, expression: str, values: Sequence[str]) -> list[Any]:
    script = f"""async (values) => {{
      const {{ dollars, nanos, clock }} = await import("/static/js/format.js");
      return values.map((value) => {expression});
    }}"""
    return list(await page.evaluate(script, list(values)))


async def test_amounts_are_read_exactly(page: Page) -> None:
    for sign in ("", "-"):
        values = [sign + amount for amount in AMOUNTS]
        found = await formats(page, "String(nanos(value))", values)
        assert [Nanos(int(each)) for each in found] == [
            -parse_usd(amount) if sign else parse_usd(amount) for amount in AMOUNTS
        ]


async def test_what_the_server_writes_is_read_back(page: Page) -> None:
    amounts = [Nanos(value) for value in (0, 1, 999, 14_000_000, 1_000_000_001, 987_654_321_000_000_007)]
    found = await formats(page, "String(nanos(value))", [usd(amount) for amount in amounts])
    assert [int(each) for each in found] == amounts


async def test_amounts_are_written_with_the_places_it_takes_to_see_them(page: Page) -> None:
    written = {
        "0": "$0.00", "5": "$5.00", "12.345678901": "$12.35", "1.005": "$1.01", "0.0933": "$0.0933",
        "0.014": "$0.0140", "0.000123456": "$0.000123", "0.00999999": "$0.0100", "-0.5": "−$0.5000", "-3": "−$3.00",
    }  # fmt: skip
    found = await formats(page, "dollars(value)", list(written))
    assert dict(zip(written, found, strict=True)) == written


async def test_a_day_is_the_zone_s_own(page: Page) -> None:
    found = await page.evaluate(
        """async () => {
          const { dayIn } = await import("/static/js/format.js");
          const at = new Date("2026-03-01T01:30:00Z");
          return ["UTC", "America/New_York", "Asia/Tokyo"].map((zone) => dayIn(zone, at));
        }"""
    )
    assert found == ["2026-03-01", "2026-02-28", "2026-03-01"]


async def test_a_clock_that_is_wrong_is_corrected_and_an_answer_long_on_its_way_is_not_taken_for_one(
    page: Page,
) -> None:
    found = await page.evaluate(
        """async () => {
          const { now, toldBy } = await import("/static/js/server-time.js");
          const off = (said, asked) => {
            const date = new Date(Date.now() + said * 60_000).toUTCString();
            toldBy(new Response("", { headers: { date } }), Date.now() + asked * 60_000);
            return Math.round((now() - Date.now()) / 60_000);
          };
          return [off(60, 0), off(-60, 0), off(-5, -10), off(60, -10), off(0, 0)];
        }"""
    )
    assert found == [60, -60, 0, 60, 0]


async def test_seconds_are_written_as_a_clock(page: Page) -> None:
    written = {"0": "0:00", "75.9": "1:15", "3661": "1:01:01", "-3": "0:00"}
    assert await formats(page, "clock(Number(value))", list(written)) == list(written.values())
