"""The engines that the settings name: how each is set up, and the lines of the price list it is billed on.

Decides nothing beyond that; `pipeline/engines/loading.py` opens them.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import SecretStr

from pipeline.core.tariff import Service
from pipeline.engines.deepgram.aura import DEFAULT_VOICE, FIRST_LINE, FIRST_VOICES, AuraSettings
from pipeline.engines.deepgram.flux import FluxSettings
from pipeline.engines.deepgram.nova import NovaSettings
from pipeline.engines.elevenlabs import ElevenLabsSettings
from pipeline.engines.loading import (
    Chosen,
    LanguageModel,
    SpeechToText,
    TextToSpeech,
    hearing_patience,
    patience,
)
from pipeline.engines.openai_chat import ChatServer
from server.setting_kinds import FLUX_MULTI
from server.settings import Settings

LOCAL_MODELS: dict[tuple[Service, str], str] = {
    ("stt", "local"): "whisper-tiny.en",
    ("llm", "local"): "companion",
    ("llm", "smollm2"): "smollm2",
    ("tts", "local"): "hibari",
}


def chosen(settings: Settings) -> Chosen:
    return Chosen(
        stt=_ears(settings),
        llm=_minds(settings),
        tts=_voices(settings),
        data_dir=settings.data_dir,
        patience_s=_patience_s(settings),
    )


def models(settings: Settings) -> dict[Service, tuple[str, ...]]:
    """The price lines of the engines, of each service the preferred one first."""
    opened = chosen(settings)
    return {
        "stt": tuple(_model("stt", engine) for engine in opened.stt),
        "llm": tuple(_model("llm", engine) for engine in opened.llm),
        "tts": tuple(_model("tts", engine) for engine in opened.tts),
    }


def _patience_s(settings: Settings) -> float:
    return settings.engine_patience_ms / 1000


def _model(service: Service, engine: SpeechToText | LanguageModel | TextToSpeech) -> str:
    if isinstance(engine, str):
        return LOCAL_MODELS.get((service, engine), engine)
    return engine.line if isinstance(engine, NovaSettings) else engine.model


def _ears(settings: Settings) -> tuple[SpeechToText, ...]:
    names, key = list(settings.deepgram_stt_model), _text(settings.deepgram_api_key)
    patience_s = hearing_patience(len(settings.stt_engine), _patience_s(settings))
    found: list[SpeechToText] = []
    for engine in settings.stt_engine:
        if engine != "deepgram":
            found.append(engine)
        elif (model := names.pop(0)).startswith("flux"):
            found.append(_flux(settings, key, model, patience_s))
        else:
            found.append(
                NovaSettings(
                    key=key,
                    url=settings.deepgram_url,
                    model=model,
                    language=settings.deepgram_language,
                    keyterms=settings.deepgram_keyterms,
                    mip_opt_out=settings.deepgram_mip_opt_out,
                    patience_s=patience_s,
                )
            )
    return tuple(found)


def _flux(settings: Settings, key: str, model: str, patience_s: float) -> FluxSettings:
    eager = min(settings.deepgram_eager_eot_threshold, settings.deepgram_eot_threshold)
    return FluxSettings(
        key=key,
        url=settings.deepgram_url,
        model=model,
        eot_threshold=settings.deepgram_eot_threshold,
        eager_eot_threshold=eager if settings.eager_replies else None,
        eot_timeout_ms=settings.deepgram_eot_timeout_ms,
        keyterms=settings.deepgram_keyterms,
        language_hints=settings.deepgram_language_hints if model == FLUX_MULTI else (),
        mip_opt_out=settings.deepgram_mip_opt_out,
        patience_s=patience_s,
    )


def _minds(settings: Settings) -> tuple[LanguageModel, ...]:
    keys = settings.llm_api_key or tuple(SecretStr("") for _ in settings.llm_model)
    servers = [
        ChatServer(
            model=model,
            base_url=url,
            api_key=key.get_secret_value(),
            reasoning_effort=settings.llm_reasoning_effort or None,
            reasoning_tokens=settings.llm_reasoning_tokens,
            tools=settings.llm_tools,
            sends_temperature=settings.llm_temperature,
            max_tokens_field=settings.llm_max_tokens_field,
            opens_thinking=settings.llm_opens_thinking,
            patience_s=patience(len(settings.llm_engine), _patience_s(settings)),
        )
        for model, url, key in zip(settings.llm_model, settings.llm_base_url, keys, strict=True)
    ]
    return tuple(servers.pop(0) if engine == "openai" else engine for engine in settings.llm_engine)


def _voices(settings: Settings) -> tuple[TextToSpeech, ...]:
    return tuple(_voice(settings, engine) for engine in settings.tts_engine)


def _voice(settings: Settings, engine: str) -> TextToSpeech:
    patience_s = patience(len(settings.tts_engine), _patience_s(settings))
    match engine:
        case "elevenlabs":
            eleven = ElevenLabsSettings(
                key=_text(settings.elevenlabs_api_key),
                url=settings.elevenlabs_url,
                model=settings.elevenlabs_model,
                patience_s=patience_s,
            )
            return replace(eleven, voices={**eleven.voices, **dict(settings.elevenlabs_voices)})
        case "deepgram":
            aura = AuraSettings(
                key=_text(settings.deepgram_api_key),
                url=settings.deepgram_url,
                model=settings.deepgram_tts_model,
                patience_s=patience_s,
            )
            stock = FIRST_VOICES if aura.model == FIRST_LINE else aura.voices
            return replace(
                aura, voices={**stock, **dict(settings.deepgram_voices)}, voice=stock[DEFAULT_VOICE]
            )
        case "scripted":
            return "scripted"
        case _:
            return "local"


def _text(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
