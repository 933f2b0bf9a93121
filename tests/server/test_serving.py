"""What is set up around a server that runs."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict, WrappedLogger

from server.listening import bound
from server.serving import NEW_OBJECTS, serve, settled_collector, tell_ready
from server.settings import Settings
from tests.ports import free_port
from tests.server.rig import settings


def test_the_collector_leaves_alone_what_was_there_and_is_itself_again_afterwards() -> None:
    frozen, before = gc.get_freeze_count(), gc.get_threshold()
    with settled_collector():
        assert gc.get_freeze_count() > frozen
        assert gc.get_threshold() == (NEW_OBJECTS, *before[1:])
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == frozen == 0


def test_ready_names_keys_that_no_chosen_engine_uses(tmp_path: Path) -> None:
    for more, unused in (({}, None), ({"deepgram_api_key": "canary"}, "DEEPGRAM_API_KEY")):
        with capture_logs() as told:
            tell_ready(settings(tmp_path, **more))
        [ready] = [entry for entry in told if entry["event"] == "ready"]
        assert ready.get("unused_keys") == unused
        assert "canary" not in str(ready)


async def test_who_is_told_ready_can_connect(tmp_path: Path) -> None:
    port, connected = free_port(), []

    class Enough(Exception):
        pass

    def enough(_settings: Settings) -> None:
        raise Enough

    def connects(_logger: WrappedLogger, _method: str, said: EventDict) -> EventDict:
        if said["event"] == "ready":
            with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
                connected.append(line.getpeername()[1])
        raise structlog.DropEvent

    chosen, before = settings(tmp_path, port=port), structlog.get_config()["processors"]
    structlog.configure(processors=[connects])
    try:
        with pytest.raises(ExceptionGroup):
            await serve(chosen, on_ready=enough, listener=bound(chosen))
    finally:
        structlog.configure(processors=before)
    assert connected == [port]
