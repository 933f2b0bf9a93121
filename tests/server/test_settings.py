"""What the environment may say, and what is said of it when it may not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from server.settings import BadSettings, Settings, load

GOOD_SECRET = "0123456789abcdef0123456789abcdef"
TWILIO = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "an auth token",
    "TWILIO_PHONE_NUMBER": "+12025550100",
}
PUBLIC = {"PUBLIC_URL": "https://calls.example.com", "JWT_SECRET": GOOD_SECRET, **TWILIO}


def test_nothing_set_is_a_simulated_server_on_this_machine() -> None:
    settings = load({})
    assert settings.public_url == "http://127.0.0.1:8000"
    assert settings.database_url == "sqlite+aiosqlite:///data/callmeback.db"
    assert settings.simulated
    assert settings.price_list == "list"
    assert settings.operator_country == ("US",)
    assert settings.jwt_secret is None


def test_defaults_follow_what_is_set() -> None:
    settings = load({"HOST": "::1", "PORT": "9000", "DATA_DIR": "/srv/cmb"})
    assert settings.public_url == "http://[::1]:9000"
    assert settings.database_url == "sqlite+aiosqlite:////srv/cmb/callmeback.db"
    assert settings.calls_dir == Path("/srv/cmb/calls")


def test_a_real_carrier_makes_local_engines_free_unless_told() -> None:
    settings = load(PUBLIC)
    assert not settings.simulated
    assert settings.price_list == "free"
    assert load({**PUBLIC, "LOCAL_PRICES": "list"}).price_list == "list"


def test_lists_are_split_at_commas() -> None:
    settings = load({"OPERATOR_COUNTRY": "US, CA", "TRUSTED_PROXIES": "10.0.0.1,10.0.0.2"})
    assert settings.operator_country == ("US", "CA")
    assert settings.trusted_proxies == ("10.0.0.1", "10.0.0.2")
    ring = load({"JWT_SECRET_PREVIOUS": f"{GOOD_SECRET}x,{GOOD_SECRET}y"}).jwt_secret_previous
    assert [secret.get_secret_value() for secret in ring] == [f"{GOOD_SECRET}x", f"{GOOD_SECRET}y"]


STRIPE = {"STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_WEBHOOK_SECRET": "whsec_x"}
BAD_PACKS = (",", "0", "-5", "0.49", "5,5.00", "5.5", "05", "1e3", "100000", "canary", "9" * 30)


def test_packs_and_secrets_of_payments() -> None:
    settings = load(
        {**STRIPE, "STRIPE_WEBHOOK_SECRET": "whsec_new, whsec_old", "CREDIT_PACKS": "0.50, 12.99,99999"}
    )
    assert settings.credit_packs == ("0.50", "12.99", "99999")
    assert [secret.get_secret_value() for secret in settings.stripe_webhook_secret] == [
        "whsec_new",
        "whsec_old",
    ]
    assert "whsec_old" not in repr(settings)
    assert "sk_test_x" not in repr(settings)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"JWT_SECRET": ""}, "JWT_SECRET"),
        ({"JWT_SECRET": "short canary"}, "JWT_SECRET"),
        ({"JWT_SECRET": "changeme" * 4}, "JWT_SECRET"),
        ({"JWT_SECRET": "x" * 64}, "JWT_SECRET"),
        ({"JWT_SECRET_PREVIOUS": "short canary"}, "JWT_SECRET_PREVIOUS"),
        ({"JWT_SECRET_PREVIOUS": ",".join([GOOD_SECRET] * 3)}, "JWT_SECRET_PREVIOUS"),
        ({**PUBLIC, "JWT_SECRET": ""}, "JWT_SECRET"),
        ({key: value for key, value in PUBLIC.items() if key != "JWT_SECRET"}, "JWT_SECRET"),
        ({"PUBLIC_URL": "https://canary.example.com", "JWT_SECRET": GOOD_SECRET}, "TWILIO_ACCOUNT_SID"),
        ({"HOST": "0.0.0.0", "JWT_SECRET": GOOD_SECRET}, "PUBLIC_URL"),
        ({**PUBLIC, "PUBLIC_URL": "http://canary.example.com"}, "PUBLIC_URL"),
        ({"PUBLIC_URL": "ftp://127.0.0.1"}, "PUBLIC_URL"),
        ({"PUBLIC_URL": "http://127.0.0.1/canary"}, "PUBLIC_URL"),
        ({"PUBLIC_URL": "http://canary@127.0.0.1"}, "PUBLIC_URL"),
        ({"PUBLIC_URL": "http://127.0.0.1:99999"}, "PUBLIC_URL"),
        ({**TWILIO, "TWILIO_AUTH_TOKEN": ""}, "TWILIO_AUTH_TOKEN"),
        ({"TWILIO_ACCOUNT_SID": TWILIO["TWILIO_ACCOUNT_SID"]}, "TWILIO_AUTH_TOKEN"),
        ({**TWILIO, "TWILIO_AUTH_TOKEN_PREVIOUS": ""}, "TWILIO_AUTH_TOKEN_PREVIOUS"),
        ({"TWILIO_AUTH_TOKEN_PREVIOUS": "canary"}, "TWILIO_ACCOUNT_SID"),
        ({**TWILIO, "TWILIO_ACCOUNT_SID": "canary"}, "TWILIO_ACCOUNT_SID"),
        ({**TWILIO, "TWILIO_PHONE_NUMBER": "202 canary"}, "TWILIO_PHONE_NUMBER"),
        ({"METRICS_TOKEN": " "}, "METRICS_TOKEN"),
        ({"DATABASE_URL": "mysql://canary@db/x"}, "DATABASE_URL"),
        ({"DATABASE_URL": "sqlite:///:memory:"}, "DATABASE_URL"),
        ({"DATABASE_URL": "canary"}, "DATABASE_URL"),
        ({"PORT": "canary"}, "PORT"),
        ({"PORT": "0"}, "PORT"),
        ({"MAX_CALL_MINUTES": "-1"}, "MAX_CALL_MINUTES"),
        ({"BCRYPT_COST": "4"}, "BCRYPT_COST"),
        ({"STT_ENGINE": "canary"}, "STT_ENGINE"),
        ({"OPERATOR_COUNTRY": "canary"}, "OPERATOR_COUNTRY"),
        ({"RECORD_CALLS": "canary"}, "RECORD_CALLS"),
        ({"STRIPE_SECRET_KEY": ""}, "STRIPE_SECRET_KEY"),
        ({**STRIPE, "STRIPE_SECRET_KEY": "pk_test_canary"}, "STRIPE_SECRET_KEY"),
        ({**STRIPE, "STRIPE_WEBHOOK_SECRET": "sk_test_canary"}, "STRIPE_WEBHOOK_SECRET"),
        ({**STRIPE, "STRIPE_WEBHOOK_SECRET": "whsec_canary, whsec_,"}, "STRIPE_WEBHOOK_SECRET"),
        ({**STRIPE, "STRIPE_WEBHOOK_SECRET": ""}, "STRIPE_WEBHOOK_SECRET"),
        ({"STRIPE_SECRET_KEY": "sk_test_canary"}, "STRIPE_WEBHOOK_SECRET"),
        ({"STRIPE_WEBHOOK_SECRET": "whsec_canary"}, "STRIPE_SECRET_KEY"),
        *(({"CREDIT_PACKS": packs}, "CREDIT_PACKS") for packs in BAD_PACKS),
    ],
)
def test_a46_a_bad_setting_stops_the_start_and_is_named_without_its_value(
    environ: dict[str, str], named: str
) -> None:
    with pytest.raises(BadSettings) as refused:
        load(environ)
    said = str(refused.value)
    assert any(problem.startswith(f"{named}: ") for problem in refused.value.problems), said
    for value in environ.values():
        if len(value) > 4:
            assert value not in said
    assert "canary" not in said


def test_every_bad_setting_is_named_at_once() -> None:
    with pytest.raises(BadSettings) as refused:
        load({"PORT": "x", "JWT_SECRET": "x", "RING_SECONDS": "x"})
    assert {problem.split(":")[0] for problem in refused.value.problems} == {
        "PORT",
        "JWT_SECRET",
        "RING_SECONDS",
    }


def test_settings_that_do_not_go_together_are_all_named_at_once() -> None:
    public = {"PUBLIC_URL": "http://calls.example.com"}
    with pytest.raises(BadSettings) as refused:
        load(public)
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "TWILIO_ACCOUNT_SID", "PUBLIC_URL", "JWT_SECRET",
    ]  # fmt: skip
    with pytest.raises(BadSettings) as refused:
        load({**public, "TWILIO_ACCOUNT_SID": TWILIO["TWILIO_ACCOUNT_SID"]})
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER", "PUBLIC_URL", "JWT_SECRET",
    ]  # fmt: skip


def test_an_account_sid_is_asked_for_in_words() -> None:
    with pytest.raises(BadSettings) as refused:
        load({**TWILIO, "TWILIO_ACCOUNT_SID": "SK" + "0" * 32})
    assert refused.value.problems == ("TWILIO_ACCOUNT_SID: must be AC followed by 32 hexadecimal digits",)


def test_an_empty_setting_that_is_no_secret_is_not_set() -> None:
    assert load({"PORT": "", "PUBLIC_URL": " ", "LOCAL_PRICES": ""}) == load({})


@pytest.mark.parametrize("url", ["http://localhost:80", "http://127.9.9.9", "http://[::1]:8000"])
def test_loopback_is_recognised(url: str) -> None:
    assert load({"PUBLIC_URL": url}).public_is_loopback


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1.example.com", "https://localhost.example.com", "https://10.0.0.1"]
)
def test_what_only_looks_like_loopback_is_not(url: str) -> None:
    assert not load({**PUBLIC, "PUBLIC_URL": url}).public_is_loopback


def test_secrets_are_masked_when_printed() -> None:
    former = {"TWILIO_AUTH_TOKEN_PREVIOUS": "a former token"}
    settings = load({**PUBLIC, **former, "METRICS_TOKEN": "metrics canary"})
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "a former token" not in text
        assert GOOD_SECRET not in text
        assert "an auth token" not in text
        assert "metrics canary" not in text


def test_the_settings_page_says_the_defaults_and_ranges() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([A-Z0-9_]+)` \| ([^|]*) \|", page, re.MULTILINE))
    assert rows.keys() == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default = field.default
        if default in (None, "", (), PydanticUndefined) or isinstance(default, SecretStr):
            continue
        shown = ",".join(default) if isinstance(default, tuple) else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown
        assert f"`{shown}`" in rows[name.upper()], name
