"""Every setting, its default and its range. The only place that reads the environment.

A setting's name in the environment is the field's name in capitals. What is wrong is said
before anything starts, by the setting's name and never with its value. This module decides
what may be configured together; it opens nothing and imports no engine. Long because it is one flat list.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from server.misspelling import likely_meant
from server.setting_kinds import (
    E164,
    FLUX_MULTI,
    AccountSid,
    Ceiling,
    DatabaseUrl,
    DeepgramEars,
    Dollars,
    Keys,
    LanguageModels,
    Languages,
    Names,
    Origin,
    Packs,
    QuietSpan,
    Regions,
    Secret,
    ServerUrls,
    SigningSecret,
    SigningSecrets,
    SocketUrl,
    SpeechToTexts,
    StripeKey,
    TextToSpeeches,
    TokenPrices,
    VerifySid,
    Voices,
    WebhookSecrets,
    aura_line,
)

WITH_REAL_PHONES = {
    "dials_per_number_hourly": 3,
    "dials_per_number_daily": 8,
    "dials_per_user_hourly": 10,
    "dial_gap_seconds": 60,
    "codes_per_network": 10,
    "codes_per_prefix": 20,
    "numbers_per_user": 3,
}
"""What these are where they are not set. Without real phones they annoy nobody and cost nothing: there is no limit."""
OUT_OF_REACH = 1_000_000_000


class BadSettings(Exception):
    """The server cannot start like this. `problems` has one plain sentence a setting, without values."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Settings(BaseModel):
    """Frozen and complete: `load` reads the environment once, tests give the fields by name."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)

    # where it runs
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    public_url: Origin = Field(
        "",
        description="Origin under which the carrier and browsers reach this server; default http://HOST:PORT.",
    )
    node_url: Origin = Field(
        "", description="Origin under which other nodes reach this one; default http://HOST:PORT."
    )
    trusted_proxies: Names = Field(
        (), description="Addresses of reverse proxies whose X-Forwarded-For and -Proto are believed."
    )
    data_dir: Path = Field(
        Path("data"), description="Directory of the database, the journals and recordings."
    )
    database_url: DatabaseUrl = Field(
        "",
        description="sqlite+aiosqlite:///path or postgresql+asyncpg://…; default callmeback.db in DATA_DIR.",
    )
    max_connections: int = Field(1000, ge=10, le=100_000, description="Connections in all, beyond them 503.")
    max_connections_per_ip: int = Field(200, ge=1, le=100_000, description="Connections from one address.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    metrics_token: Secret | None = Field(
        None, description="Bearer token for /metrics; without it, /metrics answers on loopback only."
    )

    # accounts
    jwt_secret: SigningSecret | None = Field(
        None, description="Key that signs tokens, 32 bytes or more; made and kept in DATA_DIR on loopback."
    )
    jwt_secret_previous: SigningSecrets = Field(
        (), description="Up to two former keys, comma-separated, still accepted while their tokens live."
    )
    bcrypt_cost: int = Field(
        12, ge=10, le=16, description="Work factor of password hashes, as a power of two."
    )
    login_failures: int = Field(
        5, ge=1, le=100, description="Failed logins per account and address in 15 minutes."
    )
    login_failures_per_ip: int = Field(
        100, ge=1, le=10_000, description="Failed logins per address in an hour."
    )
    registrations_per_ip: int = Field(20, ge=1, le=10_000, description="New accounts per address in an hour.")
    codes_per_number: int = Field(3, ge=1, le=20, description="Verification codes to a number in 10 minutes.")
    codes_per_number_daily: int = Field(
        6, ge=1, le=100, description="Verification codes to a number in a day."
    )
    codes_per_user: int = Field(5, ge=1, le=100, description="Verification codes for a user in an hour.")
    codes_per_network: int | None = Field(
        None, ge=1, le=10_000, description="Verification codes in a day for one IPv4 /24 or IPv6 /64."
    )
    codes_per_prefix: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Verification codes in an hour to numbers alike but for the last four digits.",
    )
    codes_confirmed_percent: int = Field(
        30,
        ge=0,
        le=100,
        description="Share of a country's last 50 codes that has to be typed in, or it gets none for a day.",
    )
    numbers_per_user: int | None = Field(
        None, ge=1, le=100, description="Different numbers a user may verify in 30 days."
    )

    # the carrier
    twilio_account_sid: AccountSid | None = Field(
        None, description="Twilio account; without it the simulated carrier rings."
    )
    twilio_auth_token: Secret | None = Field(None, description="The account's auth token.")
    twilio_auth_token_previous: Secret | None = Field(
        None, description="The auth token before it or the one to come: what it signed is believed as well."
    )
    twilio_phone_number: E164 | None = Field(
        None, description="The number calls and messages come from, E.164."
    )
    twilio_verify_service_sid: VerifySid | None = Field(
        None, description="Twilio Verify service that sends and checks codes; without it they go by SMS."
    )
    twilio_api_url: Origin = Field("https://api.twilio.com", description="Replaces every twilio.com host.")
    simulated_callee: Literal["talks", "listens"] = Field(
        "talks",
        description="Who answers simulated phones: somebody with recorded lines, or a silent listener.",
    )
    operator_country: Regions = Field(("US",), description="Countries that may be rung, two letters each.")
    quiet_hours: QuietSpan | None = Field(
        None,
        description="Hours in which no phone rings, local to it and to its owner: 21:00-08:00, or off.",
    )
    dial_price_ceiling: Ceiling = Field(
        "0.05", description="The most the carrier may ask for a number, US dollars a minute."
    )
    dials_per_number_hourly: int | None = Field(
        None, ge=1, le=1_000, description="How often a number is rung in an hour, answered or not."
    )
    dials_per_number_daily: int | None = Field(
        None, ge=1, le=10_000, description="How often a number is rung in 24 hours, answered or not."
    )
    dials_per_user_hourly: int | None = Field(
        None, ge=1, le=10_000, description="How often phones are rung for a user in an hour."
    )
    dial_gap_seconds: int | None = Field(
        None, ge=0, le=86_400, description="Least time between two calls to a number, from ring to ring."
    )
    max_calls_per_number: int = Field(1, ge=1, le=100, description="Calls to a number at a time.")
    phone_proof_days: int = Field(
        180,
        ge=1,
        le=3_650,
        description="Days without a call after which a number has to be verified again.",
    )
    operator_name: str = Field(
        "Call Me Back",
        min_length=1,
        max_length=80,
        description="Who calls, in the disclosure that opens each call.",
    )

    remember_calls: bool = Field(True, description="Whether personas remember what they are told in calls.")

    # engines and prices
    stt_engine: SpeechToTexts = Field(("local",), description="Speech to text, in the order of failover.")
    llm_engine: LanguageModels = Field(("local",), description="Language models, in the order of failover.")
    tts_engine: TextToSpeeches = Field(("local",), description="Text to speech, in the order of failover.")
    engine_patience_ms: int = Field(
        1_500,
        ge=200,
        le=3_000,
        description="Longest wait for an engine's first word or sound before the next is tried.",
    )
    deepgram_api_key: Secret | None = Field(None, description="Key of Deepgram.")
    deepgram_url: SocketUrl = Field("wss://api.deepgram.com", description="Address of Deepgram's sockets.")
    deepgram_stt_model: DeepgramEars = Field(
        ("flux-general-en",), description="Model of each deepgram in STT_ENGINE: flux-… or nova-…."
    )
    deepgram_language: str = Field("en", max_length=16, description="Language that Nova listens for.")
    deepgram_language_hints: Languages = Field(
        (), description="Languages that flux-general-multi is told to expect, separated by commas."
    )
    deepgram_keyterms: Names = Field((), description="Names and terms to listen for, separated by commas.")
    deepgram_eot_threshold: float = Field(
        0.7, ge=0.5, le=1.0, description="How sure Flux must be that the caller is done."
    )
    deepgram_eager_eot_threshold: float = Field(
        0.4, ge=0.3, le=0.9, description="How sure it must be for a reply to be begun ahead."
    )
    deepgram_eot_timeout_ms: int = Field(
        5_000, ge=500, le=60_000, description="Silence after which Flux ends a turn in any case."
    )
    deepgram_mip_opt_out: bool = Field(
        False, description="Keep callers' sound out of Deepgram's model improvement program."
    )
    deepgram_tts_model: str = Field("aura-2", max_length=40, description="Aura's line in the price list.")
    deepgram_voices: Voices = Field((), description="Aura's voices by persona: sarah=aura-2-thalia-en,….")
    llm_base_url: ServerUrls = Field(
        (), description="Address of each openai in LLM_ENGINE, such as https://api.cerebras.ai/v1."
    )
    llm_api_key: Keys = Field(
        (), description="Key of each openai in LLM_ENGINE; none for a server of your own."
    )
    llm_model: Names = Field((), description="Model of each openai in LLM_ENGINE.")
    llm_price_usd: TokenPrices = Field(
        (), description="Dollars a million tokens in/cached/out of each LLM_MODEL that the price list lacks."
    )
    llm_reasoning_effort: Literal["", "none", "minimal", "low", "medium", "high"] = Field(
        "", description="Sent to reasoning models; low is right for a conversation."
    )
    llm_reasoning_tokens: int = Field(
        0, ge=0, le=20_000, description="What a model may think for a reply, besides what it may say."
    )
    llm_temperature: bool = Field(
        True, description="Send the persona's temperature; some reasoning models refuse any."
    )
    llm_max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = Field(
        "max_completion_tokens", description="What the server calls the limit of a reply's tokens."
    )
    llm_opens_thinking: bool = Field(
        False, description="The template ends the prompt with <think>: nothing before </think> is said."
    )
    llm_tools: bool = Field(True, description="Offer the model its one tool, to end the call.")
    elevenlabs_api_key: Secret | None = Field(None, description="Key of ElevenLabs.")
    elevenlabs_url: SocketUrl = Field(
        "wss://api.elevenlabs.io", description="Address of ElevenLabs' sockets."
    )
    elevenlabs_model: str = Field("eleven_flash_v2_5", max_length=40, description="Model of ElevenLabs.")
    elevenlabs_voices: Voices = Field((), description="ElevenLabs' voice ids by persona: sarah=ID,brad=ID.")
    local_prices: Literal["list", "free"] | None = Field(
        None,
        description="What local engines cost; default list with the simulated carrier, free with a real one.",
    )

    # buying credit
    stripe_secret_key: StripeKey | None = Field(
        None, description="Stripe's key; without it no credit can be bought."
    )
    stripe_webhook_secret: WebhookSecrets = Field(
        (), description="Signing secrets of the webhook endpoint, comma-separated while one is replaced."
    )
    stripe_api_url: Origin = Field("https://api.stripe.com", description="Replaces Stripe's address.")
    credit_packs: Packs = Field(
        ("5", "10", "25", "50"), description="Credit packs for sale, US dollars each, comma-separated."
    )

    # calls
    record_calls: bool = Field(
        False,
        description="Keep a stereo WAV of each call and its engines' traffic; the disclosure then says so.",
    )
    ring_seconds: int = Field(25, ge=5, le=120, description="How long to let it ring.")
    max_call_minutes: int = Field(
        15, ge=1, le=240, description="Longest call, and the most max_minutes may ask for."
    )
    max_calls_per_user: int = Field(2, ge=1, description="Calls a user may have at a time.")
    max_live_calls: int = Field(
        100, ge=1, le=10_000, description="Live calls of this process, beyond them 503."
    )
    end_of_turn_ms: int = Field(500, ge=100, le=5_000, description="Silence that ends the caller's turn.")
    barge_in_ms: int = Field(200, ge=60, le=2_000, description="Voiced sound that stops the agent.")
    barge_in_words: int = Field(
        1, ge=1, le=5, description="Words that make a stop an interruption; with fewer the reply goes on."
    )
    eager_replies: bool = Field(
        True, description="Begin a reply when the caller is probably done; what is begun in vain is paid too."
    )
    backchannels: bool = Field(False, description="Say “mm-hm” in the pauses of a long story.")
    voicemail: Literal["message", "hang_up"] = Field(
        "message", description="What is done when an answering machine picks up."
    )
    idle_prompt_ms: int = Field(9_000, ge=2_000, le=60_000, description="Silence before “still there?”.")
    resume_pause_seconds: int | None = Field(
        None,
        ge=0,
        le=10,
        description="Silence before the carrier asks how to go on with a broken call; default 3 on SQLite, else 0.",
    )
    drain_seconds: int = Field(
        900,
        ge=0,
        le=86_400,
        description="How long a stopping server lets calls go on before they say goodbye.",
    )

    # calls in
    inbound_calls: Literal["everybody", "users", "off"] = Field(
        "everybody", description="Who is answered when they ring: everybody, users with a PIN, or nobody."
    )
    inbound_max_minutes: int = Field(
        12, ge=1, le=240, description="Longest call of a user who rings and keys in their PIN."
    )
    inbound_trial_minutes: int = Field(
        3, ge=1, le=60, description="Longest call of a stranger who rings; the operator pays it."
    )
    inbound_daily_usd: Dollars = Field(
        "1.00", description="What strangers who ring may cost the operator in a day (UTC), US dollars."
    )
    inbound_trials_at_once: int = Field(2, ge=1, le=1_000, description="Strangers on the line at a time.")
    inbound_trials_daily: int = Field(
        3, ge=1, le=1_000, description="Calls of a stranger's number that are answered in 24 hours."
    )
    inbound_pin_guesses: int = Field(
        10, ge=3, le=100, description="Wrong PINs of a number or an account in 24 hours, then none is taken."
    )

    # schedules
    carrier_calls_per_second: int = Field(
        1, ge=1, le=100, description="Scheduled calls begun in a second, all nodes together."
    )
    schedule_min_interval: int = Field(
        15, ge=1, le=1_440, description="Minutes that runs of one rule lie apart at least."
    )
    schedules_per_user: int = Field(
        50, ge=0, le=10_000, description="Scheduled calls a user may have that are still to come."
    )
    retention_days: int = Field(
        30, ge=1, le=3_650, description="Days after which a call's transcript, files and number are removed."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: dict[str, Any]) -> dict[str, Any]:
        filled = dict(values)
        if not filled.get("public_url"):
            host = str(filled.get("host") or "127.0.0.1")
            # A port that is none is reported as such, not as a bad address too.
            port = filled.get("port") if re.fullmatch(r"\d{1,5}", str(filled.get("port"))) else 8000
            filled["public_url"] = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if not filled.get("node_url"):
            host = str(filled.get("host") or "127.0.0.1")
            near = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
            port = filled.get("port") if re.fullmatch(r"\d{1,5}", str(filled.get("port"))) else 8000
            filled["node_url"] = f"http://{near}:{port}"
        if not filled.get("database_url"):
            path = Path(filled.get("data_dir") or "data") / "callmeback.db"
            filled["database_url"] = f"sqlite+aiosqlite:///{path}"
        return filled

    @model_validator(mode="after")
    def _together(self) -> Self:
        twilio = {
            "TWILIO_ACCOUNT_SID": self.twilio_account_sid,
            "TWILIO_AUTH_TOKEN": self.twilio_auth_token,
            "TWILIO_PHONE_NUMBER": self.twilio_phone_number,
        }
        missing = [name for name, value in twilio.items() if value is None]
        public = not self.public_is_loopback
        problems = self._engine_problems()
        if len(missing) < len(twilio):
            problems += [
                f"{name}: is missing; the Twilio settings are given together or not at all"
                for name in missing
            ]
        elif public:
            problems.append(
                "TWILIO_ACCOUNT_SID: is missing; the simulated carrier runs only where PUBLIC_URL is a loopback address"
            )
        problems += [
            f"TWILIO_ACCOUNT_SID: is needed by {name}"
            for name, value in (
                ("TWILIO_VERIFY_SERVICE_SID", self.twilio_verify_service_sid),
                ("TWILIO_AUTH_TOKEN_PREVIOUS", self.twilio_auth_token_previous),
            )
            if value is not None and self.twilio_account_sid is None
        ]
        if (self.stripe_secret_key is None) != (not self.stripe_webhook_secret):
            name = "STRIPE_SECRET_KEY" if self.stripe_secret_key is None else "STRIPE_WEBHOOK_SECRET"
            problems.append(f"{name}: is missing; the Stripe settings are given together or not at all")
        if public and not self.public_url.startswith("https://"):
            problems.append("PUBLIC_URL: must be https:// unless it is a loopback address")
        if public and self.jwt_secret is None:
            problems.append("JWT_SECRET: is needed where PUBLIC_URL is not a loopback address")
        if problems:
            # No ValueError: pydantic lets it through, and all are told at once.
            raise BadSettings(tuple(problems))
        return self

    def _engine_problems(self) -> list[str]:
        """What the chosen engines lack."""
        ears, minds = self.stt_engine.count("deepgram"), self.llm_engine.count("openai")
        problems = []
        if (ears or "deepgram" in self.tts_engine) and self.deepgram_api_key is None:
            problems.append("DEEPGRAM_API_KEY: is needed by the engine deepgram")
        if ears and len(self.deepgram_stt_model) != ears:
            problems.append("DEEPGRAM_STT_MODEL: must name one model for each deepgram in STT_ENGINE")
        if self.deepgram_language_hints and FLUX_MULTI not in self.deepgram_stt_model:
            problems.append(
                f"DEEPGRAM_LANGUAGE_HINTS: are taken by {FLUX_MULTI} only; name it in DEEPGRAM_STT_MODEL"
            )
        if "deepgram" in self.tts_engine:
            line = self.deepgram_tts_model
            problems += [
                f"DEEPGRAM_VOICES: what stands for {name} is no voice of {line}, by which DEEPGRAM_TTS_MODEL bills it"
                for name, voice in self.deepgram_voices
                if aura_line(voice) != line
            ]
        if "elevenlabs" in self.tts_engine and self.elevenlabs_api_key is None:
            problems.append("ELEVENLABS_API_KEY: is needed by the engine elevenlabs")
        for name, count in (("LLM_BASE_URL", len(self.llm_base_url)), ("LLM_MODEL", len(self.llm_model))):
            if count != minds:
                problems.append(f"{name}: must have one entry for each openai in LLM_ENGINE")
        for name, count in (
            ("LLM_API_KEY", len(self.llm_api_key)),
            ("LLM_PRICE_USD", len(self.llm_price_usd)),
        ):
            if count not in {0, minds}:
                problems.append(f"{name}: must have one entry for each openai in LLM_ENGINE, or none at all")
        priced = set(zip(self.llm_model, self.llm_price_usd, strict=False))
        if len(priced) > len({model for model, _ in priced}):
            problems.append("LLM_PRICE_USD: must be the same wherever LLM_MODEL names the same model")
        return problems

    @property
    def unused_keys(self) -> tuple[str, ...]:
        """Keys that are set for engines that are not chosen: nothing wrong, and often not what was meant."""
        chosen = {*self.stt_engine, *self.llm_engine, *self.tts_engine}
        keys = {"deepgram": self.deepgram_api_key, "elevenlabs": self.elevenlabs_api_key}
        return tuple(f"{name}_api_key".upper() for name, key in keys.items() if key and name not in chosen)

    @property
    def public_is_loopback(self) -> bool:
        """Whether only this machine can be meant by `PUBLIC_URL`."""
        return _is_loopback(self.public_url)

    @property
    def simulated(self) -> bool:
        """No Twilio credentials: the built-in carrier rings."""
        return self.twilio_account_sid is None

    @property
    def rings_real_phones(self) -> bool:
        """False with the simulated carrier, and where `TWILIO_API_URL` names an emulator on this machine."""
        return not self.simulated and not _is_loopback(self.twilio_api_url)

    @property
    def quiet(self) -> str:
        """The quiet hours that hold. Where no real phone rings nobody is woken: none, unless they are set."""
        return self.quiet_hours or ("21:00-08:00" if self.rings_real_phones else "off")

    def figure(self, name: str) -> int:
        """A limit that guards telephones and text messages: as set, else `WITH_REAL_PHONES`, else out of reach."""
        given: int | None = getattr(self, name)
        if given is not None:
            return given
        if self.rings_real_phones:
            return WITH_REAL_PHONES[name]
        return 0 if name == "dial_gap_seconds" else OUT_OF_REACH

    @property
    def price_list(self) -> Literal["list", "free"]:
        """Which of the two price lists local engines are billed by."""
        return self.local_prices or ("list" if self.simulated else "free")

    @property
    def calls_dir(self) -> Path:
        """Where a call's journal and recording lie."""
        return self.data_dir / "calls"

    @property
    def resume_pause_s(self) -> int:
        """One process needs that long to be waited for again; of several another answers at once."""
        default = 3 if self.sqlite else 0
        return default if self.resume_pause_seconds is None else self.resume_pause_seconds

    @property
    def sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_OPTIONAL_TEXT = frozenset(
    name
    for name in Settings.model_fields
    if name
    not in {
        *("jwt_secret", "jwt_secret_previous", "metrics_token"),
        *("twilio_auth_token", "twilio_auth_token_previous"),
        *(
            "deepgram_api_key",
            "llm_api_key",
            "elevenlabs_api_key",
            "stripe_secret_key",
            "stripe_webhook_secret",
        ),
    }
)


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings the environment gives; `BadSettings` names each one that will not do.

    A setting that is empty counts as not set, but an empty secret is a mistake and refused.
    """
    given: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = environ.get(name.upper())
        if value is None or (not value.strip() and name in _OPTIONAL_TEXT):
            continue
        given[name] = value
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise BadSettings(_problems(error)) from None


def misspelt(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Names in the environment that are none of ours and look like one, and that one."""
    return likely_meant(environ, [name.upper() for name in Settings.model_fields])


def _problems(error: ValidationError) -> tuple[str, ...]:
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        message = item["msg"].removeprefix("Value error, ")
        name = str(item["loc"][0]).upper() if item["loc"] else ""
        found.append(f"{name}: {message}" if name else message)
    return tuple(found)
