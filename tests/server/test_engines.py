"""From settings to engines: each is set up as told, and billed on the line it names."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import generate_latest

from pipeline.clock import Clock, run_virtual
from pipeline.core.errors import EngineError
from pipeline.core.prompt import TOOL_TOKENS, tokens_at_most
from pipeline.engines.breaker import Breaker
from pipeline.engines.deepgram.aura import AuraSettings
from pipeline.engines.deepgram.flux import FluxSettings
from pipeline.engines.deepgram.nova import NovaSettings, NovaTranscriber
from pipeline.engines.elevenlabs import ElevenLabsSettings
from pipeline.engines.loading import ALONE_S, HEARING_S, Chosen, EngineLoader
from pipeline.engines.openai_chat import ANSWERED, END_CALL_BYTES, ChatServer
from server.calls.live import WATCHING
from server.engines import chosen, models
from server.metrics import ENGINE_BREAKERS
from server.money.prices import models as preferred
from server.setting_kinds import aura_line
from server.settings import BadSettings, load
from tests.emulators.caller import loud
from tests.emulators.deepgram import KEY, Act, Moment, Outcome, fault
from tests.emulators.flux import FluxEmulator
from tests.emulators.nova import NovaEmulator

HOSTED = {
    "STT_ENGINE": "deepgram,deepgram,local",
    "DEEPGRAM_API_KEY": "dg-key",
    "DEEPGRAM_STT_MODEL": "flux-general-en,nova-3",
    "DEEPGRAM_KEYTERMS": "Jordan, bakery",
    "LLM_ENGINE": "openai,openai,local",
    "LLM_BASE_URL": "https://api.cerebras.ai/v1,http://127.0.0.1:11434/v1",
    "LLM_MODEL": "gpt-oss-120b,llama",
    "LLM_API_KEY": "one,two",
    "LLM_REASONING_EFFORT": "low",
    "TTS_ENGINE": "elevenlabs,deepgram,local",
    "ELEVENLABS_API_KEY": "el-key",
    "ELEVENLABS_VOICES": "sarah=abc,Nora=def",
    "DEEPGRAM_VOICES": "brad=aura-2-arcas-en",
    "ENGINE_PATIENCE_MS": "900",
}


def test_every_engine_is_set_up_as_told() -> None:
    opened = chosen(load(HOSTED))
    flux, nova, whisper = opened.stt
    assert isinstance(flux, FluxSettings)
    assert (flux.key, flux.model, flux.keyterms, flux.eager_eot_threshold) == (
        "dg-key", "flux-general-en", ("Jordan", "bakery"), 0.4,
    )  # fmt: skip
    assert isinstance(nova, NovaSettings)
    assert (nova.model, nova.language) == ("nova-3", "en")
    assert whisper == "local"
    first, second, rules = opened.llm
    assert isinstance(first, ChatServer)
    assert isinstance(second, ChatServer)
    assert (first.model, first.base_url, first.api_key, first.reasoning_effort) == (
        "gpt-oss-120b", "https://api.cerebras.ai/v1", "one", "low",
    )  # fmt: skip
    assert (second.model, second.base_url, second.api_key) == ("llama", "http://127.0.0.1:11434/v1", "two")
    assert rules == "local"
    eleven, aura, hibari = opened.tts
    assert isinstance(eleven, ElevenLabsSettings)
    assert (eleven.key, eleven.voices["sarah"], eleven.voices["nora"]) == ("el-key", "abc", "def")
    assert isinstance(aura, AuraSettings)
    assert (aura.key, aura.voices["brad"]) == ("dg-key", "aura-2-arcas-en")
    assert hibari == "local"
    assert opened.patience_s == 0.9


def test_the_patience_is_one_figure() -> None:
    opened = chosen(load(HOSTED))
    flux, nova, _ = opened.stt
    first, second, _ = opened.llm
    eleven, aura, _ = opened.tts
    assert {first.patience_s, second.patience_s, eleven.patience_s, aura.patience_s} == {0.9}  # type: ignore[union-attr]
    assert {flux.patience_s, nova.patience_s} == {HEARING_S}  # type: ignore[union-attr]
    patient = chosen(load({**HOSTED, "ENGINE_PATIENCE_MS": "3000"}))
    assert {one.patience_s for one in (*patient.stt[:2], *patient.llm[:2], *patient.tts[:2])} == {3.0}  # type: ignore[union-attr]


def test_an_engine_that_is_alone_has_longer() -> None:
    alone = {"STT_ENGINE": "deepgram", "DEEPGRAM_STT_MODEL": "nova-3", "TTS_ENGINE": "deepgram"}
    alone |= {
        "LLM_ENGINE": "openai",
        "LLM_MODEL": "m",
        "LLM_BASE_URL": "http://127.0.0.1/v1",
        "LLM_API_KEY": "k",
    }
    opened = chosen(load({**HOSTED, **alone}))
    assert {one.patience_s for one in (*opened.stt, *opened.llm, *opened.tts)} == {ALONE_S}  # type: ignore[union-attr]


def test_what_servers_differ_in_is_set() -> None:
    plain, told = (
        chosen(load({**HOSTED, **more}))
        for more in (
            {},
            {
                "LLM_TEMPERATURE": "false",
                "LLM_MAX_TOKENS_FIELD": "max_tokens",
                "DEEPGRAM_MIP_OPT_OUT": "true",
            },
        )
    )
    for opened, temperature, name, out in (
        (plain, True, "max_completion_tokens", False),
        (told, False, "max_tokens", True),
    ):
        for mind in opened.llm[:2]:
            assert isinstance(mind, ChatServer)
            assert (mind.sends_temperature, mind.max_tokens_field) == (temperature, name)
        for ear in opened.stt[:2]:
            assert isinstance(ear, FluxSettings | NovaSettings)
            assert ear.mip_opt_out is out
            assert ("mip_opt_out=true" in ear.address) is out


def test_two_servers_may_have_one_model_at_one_price() -> None:
    twins = {**HOSTED, "LLM_MODEL": "llama,llama"}
    assert models(load({**twins, "LLM_PRICE_USD": "1/1/1,1/1/1"}))["llm"] == ("llama", "llama", "companion")
    with pytest.raises(BadSettings) as refused:
        load({**twins, "LLM_PRICE_USD": "1/1/1,1/1/2"})
    assert refused.value.problems == (
        "LLM_PRICE_USD: must be the same wherever LLM_MODEL names the same model",
    )


def test_what_breakers_count_is_told_on_metrics() -> None:
    breaker = Breaker("llm:m", Clock())
    ENGINE_BREAKERS.watch({"llm:m": breaker})

    async def main() -> None:
        for _ in range(2):
            if (attempt := breaker.admit()) is not None:
                attempt.failed(EngineError("refused"))

    run_virtual(main())
    told = generate_latest().decode()
    ENGINE_BREAKERS.watch({})
    assert 'callmeback_engine_failures_total{engine="llm:m"} 1.0' in told
    assert 'callmeback_engine_openings_total{engine="llm:m"} 1.0' in told


def test_sound_heard_again_and_sound_lost_are_told_on_metrics() -> None:
    """Ten seconds into a turn the first transcriber is gone; eight of them were kept for the next."""

    async def main() -> None:
        plan = fault(Moment.AUDIO, Act.DROP, Outcome.FAILED, seconds=10.0)
        async with FluxEmulator(["One."], [plan]) as flux, NovaEmulator(["One."]) as nova:
            ears = FluxSettings(KEY, flux.url), NovaSettings(KEY, nova.url)
            loader = EngineLoader(Chosen((*ears,), ("scripted",), ("scripted",)), watching=WATCHING)
            async with loader.open() as engines, engines.transcriber.open() as ear:
                ear.voice(True)
                for _ in range(150):
                    ear.feed(loud(80))
                    await asyncio.sleep(0.08)
                ear.voice(False)
                await asyncio.sleep(2)

    run_virtual(main(), grace=0.001)
    told = generate_latest().decode()
    assert 'callmeback_seconds_heard_again_total{engine="stt:nova-3"} 8.0' in told
    [lost] = [line for line in told.splitlines() if line.startswith("callmeback_seconds_lost_total{")]
    name, seconds = lost.split()
    assert name.endswith('{engine="stt:flux-general-en"}')
    assert 1.5 <= float(seconds) <= 3


def test_the_price_lines_are_those_of_the_engines_in_their_order() -> None:
    settings = load(HOSTED)
    assert models(settings) == {
        "stt": ("flux-general-en", "nova-3", "whisper-tiny.en"),
        "llm": ("gpt-oss-120b", "llama", "companion"),
        "tts": ("eleven_flash_v2_5", "aura-2", "hibari"),
    }
    assert preferred(settings)["llm"] == "gpt-oss-120b"


DEEPGRAM = {"DEEPGRAM_API_KEY": "k", "STT_ENGINE": "deepgram", "TTS_ENGINE": "deepgram"}


@pytest.mark.parametrize(
    ("language", "line"), [("en", "nova-3"), ("de", "nova-3"), ("multi", "nova-3-multi")]
)
def test_several_languages_at_once_are_billed_at_their_own_price(language: str, line: str) -> None:
    settings = load({**DEEPGRAM, "DEEPGRAM_STT_MODEL": "nova-3", "DEEPGRAM_LANGUAGE": language})
    (nova,) = chosen(settings).stt
    assert isinstance(nova, NovaSettings)
    assert f"model=nova-3&language={language}&" in nova.address
    assert models(settings)["stt"] == NovaTranscriber(nova).models == (line,)


def test_a_line_of_the_price_list_is_no_model_of_novas() -> None:
    [said] = problems(DEEPGRAM_STT_MODEL="nova-3-multi")
    assert said == "DEEPGRAM_STT_MODEL: has 'nova-3-multi', which is nova-3 with DEEPGRAM_LANGUAGE=multi"


@pytest.mark.parametrize("line", ["aura-1", "aura-2"])
def test_every_voice_of_aura_is_of_the_generation_that_is_billed(line: str) -> None:
    (aura,) = chosen(load({**DEEPGRAM, "DEEPGRAM_TTS_MODEL": line})).tts
    assert isinstance(aura, AuraSettings)
    assert set(aura.voices) == {"sarah", "brad", "alex"}
    assert {aura_line(voice) for voice in (*aura.voices.values(), aura.voice)} == {aura.model} == {line}


@pytest.mark.parametrize(
    ("line", "voice"),
    [("aura-2", "aura-asteria-en"), ("aura-1", "aura-2-thalia-en"), ("aura-2", "aura-3-x-en")],
)
def test_a_voice_of_another_generation_than_the_billed_one_is_refused(line: str, voice: str) -> None:
    with pytest.raises(BadSettings) as refused:
        load({**DEEPGRAM, "DEEPGRAM_TTS_MODEL": line, "DEEPGRAM_VOICES": f"sarah={voice}"})
    assert refused.value.problems == (
        f"DEEPGRAM_VOICES: what stands for sarah is no voice of {line}, by which DEEPGRAM_TTS_MODEL bills it",
    )


def test_without_eager_replies_the_vendor_is_not_asked_for_guesses() -> None:
    (flux,) = chosen(load({"STT_ENGINE": "deepgram", "DEEPGRAM_API_KEY": "k", "EAGER_REPLIES": "false"})).stt
    assert isinstance(flux, FluxSettings)
    assert flux.eager_eot_threshold is None


def test_languages_are_hinted_to_the_model_that_takes_hints() -> None:
    settings = load(
        {
            "STT_ENGINE": "deepgram,deepgram", "DEEPGRAM_API_KEY": "k",
            "DEEPGRAM_STT_MODEL": "flux-general-multi,flux-general-en", "DEEPGRAM_LANGUAGE_HINTS": "en, pt-BR",
        }
    )  # fmt: skip
    several, english = chosen(settings).stt
    assert isinstance(several, FluxSettings)
    assert isinstance(english, FluxSettings)
    assert several.language_hints == ("en", "pt-BR")
    assert english.language_hints == ()


def test_hints_that_no_model_takes_are_refused() -> None:
    [said] = problems(DEEPGRAM_LANGUAGE_HINTS="en,de", DEEPGRAM_STT_MODEL="flux-general-en,nova-3")
    assert (
        said == "DEEPGRAM_LANGUAGE_HINTS: are taken by flux-general-multi only; name it in DEEPGRAM_STT_MODEL"
    )
    [said] = problems(DEEPGRAM_LANGUAGE_HINTS="english?", DEEPGRAM_STT_MODEL="flux-general-multi")
    assert said == "DEEPGRAM_LANGUAGE_HINTS: must be languages such as en, de or pt-BR"


def test_a_server_of_ones_own_needs_no_key() -> None:
    (mind,) = chosen(
        load({"LLM_ENGINE": "openai", "LLM_BASE_URL": "http://127.0.0.1:8001/v1", "LLM_MODEL": "qwen"})
    ).llm
    assert isinstance(mind, ChatServer)
    assert mind.api_key == ""


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"DEEPGRAM_API_KEY": None}, "DEEPGRAM_API_KEY"),
        ({"ELEVENLABS_API_KEY": None}, "ELEVENLABS_API_KEY"),
        ({"DEEPGRAM_STT_MODEL": "nova-3"}, "DEEPGRAM_STT_MODEL"),
        ({"LLM_BASE_URL": "https://api.cerebras.ai/v1"}, "LLM_BASE_URL"),
        ({"LLM_MODEL": None}, "LLM_MODEL"),
        ({"LLM_API_KEY": "one"}, "LLM_API_KEY"),
        ({"LLM_PRICE_USD": "1/1/1"}, "LLM_PRICE_USD"),
        ({"LLM_PRICE_USD": "1/1"}, "LLM_PRICE_USD"),
        ({"LLM_TEMPERATURE": "warm"}, "LLM_TEMPERATURE"),
        ({"LLM_MAX_TOKENS_FIELD": "most"}, "LLM_MAX_TOKENS_FIELD"),
        ({"DEEPGRAM_MIP_OPT_OUT": "perhaps"}, "DEEPGRAM_MIP_OPT_OUT"),
        ({"ENGINE_PATIENCE_MS": "6000"}, "ENGINE_PATIENCE_MS"),
        ({"LLM_BASE_URL": "api.cerebras.ai,x"}, "LLM_BASE_URL"),
        ({"DEEPGRAM_URL": "https://api.deepgram.com"}, "DEEPGRAM_URL"),
        ({"ELEVENLABS_VOICES": "sarah"}, "ELEVENLABS_VOICES"),
        ({"STT_ENGINE": "whisper"}, "STT_ENGINE"),
        ({"TTS_ENGINE": ","}, "TTS_ENGINE"),
    ],
)
def test_what_an_engine_lacks_is_said_by_name(change: dict[str, Any], names: str) -> None:
    given = {name: value for name, value in {**HOSTED, **change}.items() if value is not None}
    with pytest.raises(BadSettings) as caught:
        load(given)
    assert any(problem.startswith(f"{names}:") for problem in caught.value.problems), caught.value.problems
    assert not any(
        "key" in problem.partition(":")[2] and "dg-key" in problem for problem in caught.value.problems
    )


def problems(**environ: str) -> tuple[str, ...]:
    with pytest.raises(BadSettings) as refused:
        load(environ)
    return refused.value.problems


def test_a_model_that_is_none_of_deepgrams_is_said_with_what_is() -> None:
    [said] = problems(DEEPGRAM_STT_MODEL="flux-general-en,whisper")
    assert (
        said
        == "DEEPGRAM_STT_MODEL: has 'whisper', but must be flux-… or nova-…, such as flux-general-en or nova-3"
    )


def test_what_might_be_a_key_in_the_place_of_a_model_is_not_repeated() -> None:
    [said] = problems(DEEPGRAM_STT_MODEL="0123456789abcdef" * 2)
    assert said == "DEEPGRAM_STT_MODEL: must be flux-… or nova-…, such as flux-general-en or nova-3"


@pytest.mark.parametrize(
    "voice", ["ID", "<id>", "...", "YOUR_VOICE_ID", "xxxx", "voice-id", "your-elevenlabs-voice"]
)
def test_a_placeholder_is_no_voice(voice: str) -> None:
    for name in ("ELEVENLABS_VOICES", "DEEPGRAM_VOICES"):
        [said] = problems(**{name: f"brad=aura-2-arcas-en,sarah={voice}"})
        assert said.startswith(f"{name}: has a placeholder")


@pytest.mark.parametrize("voice", ["EXAVITQu4vr4xnSDxMaL", "abc", "aura-2-thalia-en"])
def test_what_may_be_a_voice_is_one(voice: str) -> None:
    """What ids vendors give is theirs to change."""
    assert load({"ELEVENLABS_VOICES": f"sarah={voice}"}).elevenlabs_voices == (("sarah", voice),)


def test_the_dots_of_an_example_are_no_key() -> None:
    [said] = problems(DEEPGRAM_API_KEY="...")
    assert said == "DEEPGRAM_API_KEY: is the dots of an example; give your own"


def test_keys_of_engines_that_are_not_chosen_are_known() -> None:
    keys = {"DEEPGRAM_API_KEY": "k", "ELEVENLABS_API_KEY": "k"}
    assert load({}).unused_keys == ()
    assert load(keys).unused_keys == ("DEEPGRAM_API_KEY", "ELEVENLABS_API_KEY")
    assert load({**keys, "TTS_ENGINE": "deepgram,local"}).unused_keys == ("ELEVENLABS_API_KEY",)
    assert load({**keys, "STT_ENGINE": "deepgram", "TTS_ENGINE": "elevenlabs"}).unused_keys == ()


def test_keys_are_not_shown() -> None:
    settings = load(HOSTED)
    shown = f"{settings!r} {settings} {chosen(settings)!r}"
    assert "dg-key" not in shown
    assert "el-key" not in shown
    assert "'one'" not in shown


def test_the_worst_case_of_a_prompt_counts_what_is_sent_besides() -> None:
    assert END_CALL_BYTES + tokens_at_most([ANSWERED]) <= TOOL_TOKENS
