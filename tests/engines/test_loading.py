"""The engines of a server: loaded once, in a stated order, and only what was chosen."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.clock import run_virtual
from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.engines.deepgram.aura import AuraSettings
from pipeline.engines.deepgram.flux import FluxSettings
from pipeline.engines.deepgram.nova import NovaSettings
from pipeline.engines.elevenlabs import ElevenLabsSettings
from pipeline.engines.loading import Chosen, EngineLoader
from pipeline.engines.openai_chat import ChatServer


def test_everything_local_loads_and_reports_progress() -> None:
    seen: list[tuple[str, bool]] = []

    async def main() -> None:
        models = EngineLoader(Chosen(), lambda name, done: seen.append((name, done)))
        async with models.open() as engines:
            assert (engines.transcriber.models[0], engines.thinker.models[0], engines.speaker.models[0]) == (
                "whisper-tiny.en",
                "companion",
                "hibari",
            )
            assert set(models.workers) == {"voice activity", "speech to text", "text to speech"}
            async with engines.speaker.open("sarah") as voice:
                pieces = [piece async for piece in voice.speak("Hello.")]
            assert pieces

    run_virtual(main())
    names = ["voice activity", "speech to text", "text to speech"]
    assert seen == [(name, done) for name in names for done in (False, True)]


def test_scripted_engines_answer_every_call_alike() -> None:
    async def main() -> None:
        async with EngineLoader(Chosen(("scripted",), ("scripted",), ("scripted",))).open() as engines:
            talk = [Message("user", "Hello.")]
            for turn in (1, 2):
                async with engines.thinker.reply(talk * turn, max_tokens=50, temperature=0) as reply:
                    text = "".join([str(piece) async for piece in reply.pieces()])
                assert text == f"That is turn {turn}. Please go on."

    run_virtual(main())


def test_a_missing_model_is_said_before_any_call(tmp_path: Path) -> None:
    async def main() -> None:
        chosen = Chosen(llm=("smollm2",), data_dir=tmp_path)
        with pytest.raises(EngineError, match="make smollm2"):
            async with EngineLoader(chosen).open():
                pass

    asyncio.run(main())


def test_hosted_engines_and_several_in_a_row_are_watched_by_breakers() -> None:
    async def main() -> None:
        chosen = Chosen(
            (FluxSettings(key="k"), NovaSettings(key="k"), "scripted"),
            (ChatServer(model="m", base_url="http://127.0.0.1:9/v1"),),
            (ElevenLabsSettings(key="k"), AuraSettings(key="k")),
        )
        loader = EngineLoader(chosen)
        async with loader.open() as engines:
            assert engines.transcriber.models == ("flux-general-en", "nova-3", "scripted")
            assert engines.transcriber.ends_turns
            assert engines.thinker.models == ("m",)
            assert engines.speaker.models == ("eleven_flash_v2_5", "aura-2")
        assert set(loader.breakers) == {
            *("stt:flux-general-en", "stt:nova-3", "stt:scripted", "llm:m"),
            *("tts:eleven_flash_v2_5", "tts:aura-2"),
        }

    run_virtual(main())


def test_what_is_not_chosen_is_not_imported() -> None:
    code = (
        "import asyncio, sys\n"
        "from pipeline.engines.loading import Chosen, EngineLoader\n"
        "async def main():\n"
        "    async with EngineLoader(Chosen(('scripted',), ('local',), ('scripted',))).open(): pass\n"
        "asyncio.run(main())\n"
        "print(*({'onnxruntime', 'ctranslate2', 'hibari', 'xllamacpp', 'openai', 'httpx2'} & set(sys.modules)))"
    )
    root = Path(__file__).parent.parent.parent
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert ran.stdout.strip() == ""
