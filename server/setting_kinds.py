"""The kinds of values settings have, and what makes one acceptable. Which settings there are is `settings.py`'s."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

MIN_SECRET_BYTES = 32
LEAST_PACK = Decimal("0.50")
"""What a card can be charged at least, in US dollars."""

MIN_DISTINCT_BYTES = 8
"""A secret with fewer different bytes is a placeholder such as "changeme" repeated, and refused."""

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_REGION = re.compile(r"[A-Z]{2}")
_DATABASE = re.compile(r"sqlite(\+\w+)?:///[^:?][^?]*|postgres(ql)?(\+\w+)?://.+")
_TOKEN_PRICE = re.compile(r"\d{1,6}(\.\d{1,9})?(/\d{1,6}(\.\d{1,9})?){2}")
_DEEPGRAM_EAR = re.compile(r"(flux|nova)-[a-z0-9-]{1,40}")
_SEVERAL_LANGUAGES = re.compile(r"(nova-\d)-multi")
_GENERATION = re.compile(r"aura-(\d{1,3})-")
FLUX_MULTI = "flux-general-multi"
"""The one model that is told what languages to expect."""
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_SHORT_NAME = re.compile(r"[\w.-]{1,24}")
"""What may be repeated in a message: no vendor's key is as short."""
_DOTS = re.compile(r"[.…]+")
_PLACEHOLDER = re.compile(
    r"(your|my|the|some|eleven|labs|aura|deepgram|voice|id|name|here|todo|changeme|placeholder|x)*"
)
"""A voice made of nothing but such words is what stood in an example."""
_PACK = re.compile(r"(?!0\d)\d{1,5}(\.\d{2})?")
_STRIPE_KEY = re.compile(r"(sk|rk)_(test|live)_\w+")
_ACCOUNT = re.compile(r"AC[0-9a-fA-F]{32}")
_VERIFY = re.compile(r"VA[0-9a-fA-F]{32}")
_SPAN = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")
_DOLLARS = re.compile(r"\d{1,4}(\.\d{1,9})?")


def _signing_secret(secret: SecretStr) -> SecretStr:
    raw = secret.get_secret_value().encode()
    if len(raw) < MIN_SECRET_BYTES:
        raise ValueError(
            f"must have at least {MIN_SECRET_BYTES} bytes, such as the output of: openssl rand -hex 32"
        )
    if len(set(raw)) < MIN_DISTINCT_BYTES:
        raise ValueError("looks like a placeholder; use the output of: openssl rand -hex 32")
    return secret


def _not_empty(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value().strip()
    if not value:
        raise ValueError("is set but empty")
    if _DOTS.fullmatch(value):
        raise ValueError("is the dots of an example; give your own")
    return secret


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username:
        raise ValueError("must be an origin: scheme, host and port, without a path")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("has a port that is no port") from None
    return url.rstrip("/")


def _database(url: str) -> str:
    if not _DATABASE.fullmatch(url):
        raise ValueError("must be sqlite+aiosqlite:///path or postgresql+asyncpg://user@host/name")
    return url


def _account(text: str) -> str:
    if not _ACCOUNT.fullmatch(text):
        raise ValueError("must be AC followed by 32 hexadecimal digits")
    return text


def _verify(text: str) -> str:
    if not _VERIFY.fullmatch(text):
        raise ValueError("must be VA followed by 32 hexadecimal digits")
    return text


def quiet_span(text: str) -> str:
    if text != "off" and not _SPAN.fullmatch(text):
        raise ValueError("must be two times of day such as 21:00-08:00, or off")
    return text


def _ceiling(text: str) -> str:
    if not _DOLLARS.fullmatch(text):
        raise ValueError("must be US dollars a minute, such as 0.05")
    return text


def _dollars(text: str) -> str:
    if not _DOLLARS.fullmatch(text):
        raise ValueError("must be US dollars, such as 1.00")
    return text


def _stripe_key(secret: SecretStr) -> SecretStr:
    if not _STRIPE_KEY.fullmatch(secret.get_secret_value()):
        raise ValueError("must be a secret or restricted key: sk_test_…, sk_live_…, rk_test_… or rk_live_…")
    return secret


def _webhook_secret(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"whsec_\S+", secret.get_secret_value()):
        raise ValueError("must be the signing secret of a webhook endpoint: whsec_…")
    return secret


def _packs(packs: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_PACK.fullmatch(pack) and Decimal(pack) >= LEAST_PACK for pack in packs):
        raise ValueError("must be dollars from 0.50 to 99999.99, separated by commas, such as 5,10,25.50")
    if len({Decimal(pack) for pack in packs}) < len(packs):
        raise ValueError("names one amount twice")
    return packs


def _number(text: str) -> str:
    if not _E164.fullmatch(text):
        raise ValueError("must be a number in E.164 form, such as +12025550100")
    return text


def _regions(regions: tuple[str, ...]) -> tuple[str, ...]:
    if not regions or not all(_REGION.fullmatch(region) for region in regions):
        raise ValueError("must be two-letter country codes, separated by commas, such as US,CA")
    return regions


def _socket(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be a ws:// or wss:// address")
    return url.rstrip("/")


def _server(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an http:// or https:// address, such as https://api.cerebras.ai/v1")
    return url.rstrip("/")


def _named(value: object) -> object:
    """`sarah=ID,brad=ID` as pairs."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if not all(name.strip() and mark and voice.strip() for name, mark, voice in pairs):
        raise ValueError("must be voices by persona, such as sarah=ID,brad=ID")
    return tuple((name.strip().casefold(), voice.strip()) for name, _, voice in pairs)


def _no_placeholders(voices: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Vendors find out only when the first sentence is to be spoken."""
    for _, voice in voices:
        letters = re.sub(r"[^a-z0-9]", "", voice.casefold())
        if _PLACEHOLDER.fullmatch(letters):
            raise ValueError(
                "has a placeholder such as ID for a voice; give the vendor's ids as your account lists them"
            )
    return voices


def aura_line(voice: str) -> str:
    """The line of the price list that a voice of Aura is billed on: its generation. The first is not in the name."""
    named = _GENERATION.match(voice)
    return f"aura-{named[1]}" if named else "aura-1"


def _deepgram_ear(model: str) -> str:
    if (line := _SEVERAL_LANGUAGES.fullmatch(model)) is not None:
        raise ValueError(f"has {model!r}, which is {line[1]} with DEEPGRAM_LANGUAGE=multi")
    if not _DEEPGRAM_EAR.fullmatch(model):
        named = f"has {model!r}, but " if _SHORT_NAME.fullmatch(model) else ""
        raise ValueError(f"{named}must be flux-… or nova-…, such as flux-general-en or nova-3")
    return model


def _language(tag: str) -> str:
    if not _LANGUAGE.fullmatch(tag):
        raise ValueError("must be languages such as en, de or pt-BR")
    return tag


def _token_price(text: str) -> str:
    if not _TOKEN_PRICE.fullmatch(text):
        raise ValueError("must be dollars a million tokens in, cached and out, such as 0.35/0.35/0.75")
    return text


SigningSecret = Annotated[SecretStr, AfterValidator(_signing_secret)]
Secret = Annotated[SecretStr, AfterValidator(_not_empty)]
Origin = Annotated[str, AfterValidator(_origin)]
DatabaseUrl = Annotated[str, AfterValidator(_database)]
AccountSid = Annotated[str, AfterValidator(_account)]
VerifySid = Annotated[str, AfterValidator(_verify)]
QuietSpan = Annotated[str, AfterValidator(quiet_span)]
Ceiling = Annotated[str, AfterValidator(_ceiling)]
Dollars = Annotated[str, AfterValidator(_dollars)]
E164 = Annotated[str, AfterValidator(_number)]
Regions = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_regions)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
SigningSecrets = Annotated[tuple[SigningSecret, ...], BeforeValidator(_split), Field(max_length=2)]
SocketUrl = Annotated[str, AfterValidator(_socket)]
ServerUrls = Annotated[tuple[Annotated[str, AfterValidator(_server)], ...], BeforeValidator(_split)]
Voices = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_named), AfterValidator(_no_placeholders)]
DeepgramEars = Annotated[tuple[Annotated[str, AfterValidator(_deepgram_ear)], ...], BeforeValidator(_split)]
Languages = Annotated[tuple[Annotated[str, AfterValidator(_language)], ...], BeforeValidator(_split)]
TokenPrices = Annotated[tuple[Annotated[str, AfterValidator(_token_price)], ...], BeforeValidator(_split)]
Keys = Annotated[tuple[Secret, ...], BeforeValidator(_split)]
StripeKey = Annotated[SecretStr, AfterValidator(_stripe_key)]
WebhookSecrets = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_webhook_secret)], ...],
    BeforeValidator(_split),
    Field(max_length=3),
]
Packs = Annotated[
    tuple[str, ...], BeforeValidator(_split), AfterValidator(_packs), Field(min_length=1, max_length=20)
]

SpeechToText = Literal["local", "deepgram", "scripted"]
LanguageModel = Literal["local", "smollm2", "openai", "scripted"]
TextToSpeech = Literal["local", "elevenlabs", "deepgram", "scripted"]
SpeechToTexts = Annotated[
    tuple[SpeechToText, ...], BeforeValidator(_split), Field(min_length=1, max_length=4)
]
LanguageModels = Annotated[
    tuple[LanguageModel, ...], BeforeValidator(_split), Field(min_length=1, max_length=4)
]
TextToSpeeches = Annotated[
    tuple[TextToSpeech, ...], BeforeValidator(_split), Field(min_length=1, max_length=4)
]
