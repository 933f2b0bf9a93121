"""The engines of a server: loaded once, in a stated order, and only what was chosen."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pipeline.clock import Clock, run_virtual
from pipeline.core.effects import Message
from pipeline.core.errors import EngineError
from pipeline.engines.breaker import State
from pipeline.engines.deepgram.aura import AuraSettings
from pipeline.engines.deepgram.flux import FluxSettings
from pipeline.engines.deepgram.nova import NovaSettings
from pipeline.engines.elevenlabs import ElevenLabsSettings
from pipeline.engines.loading import WARM_AGAIN_S, Chosen, EngineLoader, LanguageModel
from pipeline.engines.openai_chat import IDLE_S, ChatServer
from pipeline.offline import run_call
from tests.core.story import started
from tests.emulators.chat import FAULTS, KEY, MODEL, ChatEmulator


def test_each_of_several_models_can_be_asked_first() -> None:
    async def main() -> None:
        several = Chosen(stt=("scripted",), llm=("scripted", "local"), tts=("scripted",))
        async with EngineLoader(several).open() as engines:
            assert {name: mind.models for name, mind in engines.minds.items()} == {
                "scripted": ("scripted", "companion"),
                "companion": ("companion", "scripted"),
            }
            assert engines.thinker is engines.minds["scripted"]
        async with EngineLoader(replace(several, llm=("local",))).open() as engines:
            assert engines.minds == {"companion": engines.thinker}

    run_virtual(main())


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


def minds(*servers: LanguageModel) -> Chosen:
    return Chosen(("scripted",), servers, ("scripted",))


def test_two_servers_with_the_same_model_fail_each_for_itself() -> None:
    async def main() -> None:
        async with ChatEmulator(plan=FAULTS["wrong key"]) as refusing, ChatEmulator() as healthy:
            loader = EngineLoader(
                minds(ChatServer(MODEL, refusing.url, KEY), ChatServer(MODEL, healthy.url, KEY))
            )
            async with loader.open() as engines:
                for _ in range(3):
                    async with engines.thinker.reply(
                        [Message("user", "Hello.")], max_tokens=50, temperature=0
                    ) as reply:
                        text = "".join([str(piece) async for piece in reply.pieces()])
                    assert text == "That sounds like a big day for you."
                assert engines.thinker.models == (MODEL,)
                first, second = (loader.breakers[name] for name in (f"llm:{MODEL}", f"llm:{MODEL}#2"))
                assert (first.state, first.failures) == (State.OPEN, 1)
                assert (second.state, second.failures) == (State.CLOSED, 0)
            async with loader.open():
                assert [*loader.breakers] == [f"llm:{MODEL}", f"llm:{MODEL}#2"]
                assert loader.breakers[f"llm:{MODEL}"].state is State.CLOSED

    run_virtual(main(), grace=0.001)


def test_a_server_that_is_silent_does_not_delay_the_start() -> None:
    async def main() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        clock = Clock()
        async with server:
            began = clock.seconds()
            async with EngineLoader(minds(ChatServer(MODEL, url))).open():
                assert clock.seconds() == began
            assert clock.seconds() == began

    run_virtual(main(), grace=0.001)


def test_a_model_that_its_server_does_not_list_is_said_once() -> None:
    async def main() -> None:
        async with ChatEmulator() as server:
            chosen = minds(ChatServer("retired-8b", server.url, KEY), ChatServer(MODEL, server.url, KEY))
            with capture_logs() as logs:
                async with EngineLoader(chosen).open() as engines:
                    for _ in range(3):
                        engines.warm()
                        await asyncio.sleep(2 * WARM_AGAIN_S)
        said = [entry for entry in logs if entry["event"] == "model_not_listed"]
        assert [(entry["model"], entry["listed"]) for entry in said] == [("retired-8b", [MODEL])]

    run_virtual(main(), grace=0.001)


def test_a_model_that_is_listed_with_its_tag_is_there() -> None:
    """The example of our own docs was warned of at every start with Ollama."""

    async def main() -> None:
        async with ChatEmulator() as server:
            server.listed = [f"{MODEL}:latest", "another:8b"]
            with capture_logs() as logs:
                async with EngineLoader(
                    minds(ChatServer(MODEL, server.url, KEY), ChatServer("another", server.url, KEY))
                ).open():
                    await asyncio.sleep(WARM_AGAIN_S)
        said = [entry["model"] for entry in logs if entry["event"] == "model_not_listed"]
        assert said == ["another"]

    run_virtual(main(), grace=0.001)


def test_a_phone_that_rings_opens_what_its_first_reply_needs(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            ChatEmulator() as server,
            EngineLoader(minds(ChatServer(MODEL, server.url, KEY))).open() as engines,
        ):
            await asyncio.sleep(1)
            assert (server.connections, server.open) == (2, 2)
            server.hang_up()  # as servers do that are idle for a minute
            await asyncio.sleep(IDLE_S / 2)
            assert server.open == 0
            caller = (b"\xff" * 40_000) + (b"\x10\x90" * 4_000) + (b"\xff" * 40_000)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(
                    run_call(
                        started(),
                        caller,
                        engines,
                        voice="nora",
                        journal=tmp_path / "call.journal",
                        wav=tmp_path / "call.wav",
                    )
                )
                await asyncio.sleep(1)  # it still rings
                assert server.open == 2
                assert not server.served
            assert server.served
            assert server.connections == 4

    run_virtual(main(), grace=0.001)


def test_however_many_phones_ring_connections_are_looked_after_now_and_then() -> None:
    async def main() -> None:
        async with (
            ChatEmulator() as server,
            EngineLoader(minds(ChatServer(MODEL, server.url, KEY))).open() as engines,
        ):
            for _ in range(100):
                engines.warm()
                await asyncio.sleep(WARM_AGAIN_S / 50)
            await asyncio.sleep(5 * WARM_AGAIN_S)
            assert server.listings == 2 * 3  # at the start, for those in the next 2 s, and for those after

    run_virtual(main(), grace=0.001)


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
