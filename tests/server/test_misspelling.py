"""Which names look like a misspelt setting, and which are other programs'."""

from __future__ import annotations

import pytest

from server.settings import Settings, misspelt


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MAX_CALL_MINTUES", "MAX_CALL_MINUTES"),
        ("ELEVENLABS_VOICE", "ELEVENLABS_VOICES"),
        ("JWT_SECERT", "JWT_SECRET"),
        ("SST_ENGINE", "STT_ENGINE"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("max_call_minutes", "MAX_CALL_MINUTES"),
    ],
)
def test_a_name_that_looks_like_a_setting_is_taken_for_it(name: str, meant: str) -> None:
    assert misspelt({name: "x", "PATH": "/bin"}) == {name: meant}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "PATH",
            "HOME",
            "HOSTNAME",
            "PORTS",
            "LANG",
            "PGHOST",
            "REDIS_URL",
            "XDG_DATA_DIRS",
            "OPENAI_API_KEY",
        ),
        *("TWILIO_API_KEY", "SSH_AUTH_SOCK", "KUBERNETES_SERVICE_PORT", "DB_URL", "SECRET_KEY"),
    ],
)
def test_what_other_programs_read_is_left_alone(name: str) -> None:
    assert misspelt({name: "x"}) == {}


def test_settings_are_no_misspellings_of_each_other() -> None:
    assert misspelt({name.upper(): "x" for name in Settings.model_fields}) == {}
