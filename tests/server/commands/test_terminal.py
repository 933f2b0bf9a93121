"""What a person at a terminal sees, and what a machine gets instead."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest
import structlog
from rich.console import Console
from structlog.testing import capture_logs

from server.commands.terminal import Terminal
from server.logs import configure
from tests.server.rig import settings


def test_models_are_shown_while_they_load_and_the_way_on_when_ready(tmp_path: Path) -> None:
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, width=60, force_terminal=True))
    terminal.loading("speech to text", False)
    terminal.loading("speech to text", True)
    assert "loading speech to text" in screen.getvalue()
    assert "loaded speech to text" in screen.getvalue()
    terminal.loading("text to speech", False)
    terminal.close()
    assert "\x1b[?25h" in screen.getvalue()[-40:], "the cursor is back"
    terminal.ready(settings(tmp_path, port=9000))
    for words in ("http://127.0.0.1:9000", "README.md", "Simulated phone: codes and texts appear here."):
        assert words in screen.getvalue()


@pytest.mark.usefixtures("_logging_restored")
def test_a_machine_gets_json_and_a_person_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    structlog.get_logger("server.a").info("ready", simulated=True)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["simulated"]) == ("ready", True)
    configure("info", plain=True)
    structlog.get_logger("server.b").info("ready", simulated=True)
    assert capsys.readouterr().err.endswith(" info ready simulated=True\n")


@pytest.mark.usefixtures("_logging_restored")
@pytest.mark.parametrize("plain", [False, True])
def test_nothing_forges_a_line_and_an_exception_shows_its_kind_only(
    plain: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("info", plain=plain)
    logging.getLogger("asyncio").warning("one\ntwo \x1b[2J")
    try:
        raise ValueError("canary")
    except ValueError:
        structlog.get_logger("server.c").exception("broken")
    told = capsys.readouterr().err
    assert told.count("\n") == 2
    assert "\x1b" not in told
    assert "canary" not in told
    assert "ValueError" in told


@pytest.mark.usefixtures("_logging_restored")
def test_a_driver_s_values_are_never_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """At the level debug a database's driver would tell every word, number and hash that it writes."""
    configure("debug")
    logging.getLogger("aiosqlite").debug("INSERT INTO call_turns %s", "canary")
    logging.getLogger("httpx").info("canary")
    structlog.get_logger("pipeline.a").debug("ours")
    told = capsys.readouterr().err
    assert "ours" in told
    assert "canary" not in told


@pytest.mark.usefixtures("_logging_restored")
def test_uvicorn_s_talk_of_connections_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "127.0.0.1", "/twilio/media")
    assert capsys.readouterr().err == ""
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert "Invalid HTTP request" in capsys.readouterr().err


@pytest.mark.usefixtures("_logging_restored")
def test_a_logger_that_has_spoken_follows_the_log_to_where_it_is_set_up_next() -> None:
    configure("info")
    log = structlog.get_logger("server.d")
    log.info("before")
    structlog.reset_defaults()
    with capture_logs() as told:
        log.info("after")
    assert [line["event"] for line in told] == ["after"]
