"""Who is asking: tokens made, checked and ended. Passwords are next door in `server/passwords.py`.

A token is accepted only if every part of it is what this server writes: the algorithm, a key
of the ring, no extra header, all claims and their types, then the blacklist and the user's
token version in the database. If the database cannot be asked, nobody is let in. What is
wrong with a token is never said.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt

from pipeline.clock import Clock
from server.errors import unauthorized
from server.setting_kinds import MIN_SECRET_BYTES
from server.settings import BadSettings, Settings
from storage import tokens, users
from storage.db import Database
from storage.records import User

ALGORITHM = "HS256"
AUDIENCE = "callmeback-api"
KIND = "access"
LIFETIME = timedelta(hours=24)
LEEWAY_S = 30
SECRET_FILE = "jwt_secret"
LONGEST_TOKEN = 4096

_HEADERS = frozenset({"alg", "kid", "typ"})
_CLAIMS = frozenset({"sub", "email", "jti", "typ", "tv", "iat", "exp", "iss", "aud"})


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    user_id: str
    jti: str
    token_version: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token and when it ends."""

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """A request's user, as the database has them now, and the token that proved it."""

    user: User
    claims: Claims


class Tokens:
    """Makes and reads tokens. The first key of the ring signs; all of them verify."""

    def __init__(self, ring: tuple[bytes, ...], issuer: str, clock: Clock) -> None:
        self._ring = {key_id(secret): secret for secret in reversed(ring)}
        self._signer = key_id(ring[0])
        self._issuer = issuer
        self._clock = clock

    def issue(self, user: User) -> Issued:
        now = self._clock.utc()
        expires_at = datetime.fromtimestamp(int((now + LIFETIME).timestamp()), UTC)
        claims = {
            "sub": user.id,
            "email": user.email,
            "jti": secrets.token_hex(16),
            "typ": KIND,
            "tv": user.token_version,
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "iss": self._issuer,
            "aud": AUDIENCE,
        }
        token = jwt.encode(claims, self._ring[self._signer], ALGORITHM, headers={"kid": self._signer})
        return Issued(token, expires_at)

    def read(self, token: str) -> Claims:
        """The claims of a token of ours that has not ended; `Refused(unauthorized)` for any other."""
        if len(token) > LONGEST_TOKEN:
            raise unauthorized()
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid")
            secret = self._ring.get(kid) if isinstance(kid, str) else None
            if secret is None or header.get("alg") != ALGORITHM or not header.keys() <= _HEADERS:
                raise unauthorized()
            # Times are checked below on our clock; the library would read the machine's.
            claims = jwt.decode(
                token,
                secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=self._issuer,
                options={
                    "require": sorted(_CLAIMS),
                    "strict_aud": True,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise unauthorized() from None
        return self._judge(claims)

    def _judge(self, claims: dict[str, object]) -> Claims:
        match claims:
            case {"sub": str(sub), "email": str(), "jti": str(jti), "typ": str(kind), "tv": int(tv),
                  "iat": int(iat), "exp": int(exp)}:  # fmt: skip
                now = self._clock.utc().timestamp()
                whole = not any(isinstance(value, bool) for value in (tv, iat, exp))
                in_time = iat <= now + LEEWAY_S and now < exp + LEEWAY_S
                lifetime = exp - iat <= LIFETIME.total_seconds() + LEEWAY_S
                if kind == KIND and claims.keys() == _CLAIMS and whole and in_time and lifetime:
                    return Claims(sub, jti, tv, datetime.fromtimestamp(exp, UTC))
            case _:
                pass
        raise unauthorized()


def key_id(secret: bytes) -> str:
    """The public name of a key: says nothing of the key, changes with it."""
    return hashlib.sha256(b"callmeback key id:" + secret).hexdigest()[:16]


def derived_key(ring: tuple[bytes, ...], purpose: str) -> bytes:
    """A key for another purpose, from the signing key."""
    return hmac.digest(ring[0], f"callmeback {purpose}".encode(), "sha256")


async def authenticate(authorization: str | None, reader: Tokens, database: Database) -> Session:
    """The session of an `Authorization` header; `Refused(unauthorized)`, or `DatabaseDown` when nobody can tell."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthorized()
    claims = reader.read(token.strip())
    async with database.read() as tx:
        ended = await tokens.is_blacklisted(tx, claims.jti)
        user = None if ended else await users.by_id(tx, claims.user_id)
    if user is None or user.token_version != claims.token_version:
        raise unauthorized()
    return Session(user, claims)


async def end_session(session: Session, database: Database) -> None:
    """Put the token on the blacklist, for as long as it could otherwise be used."""
    keep_until = session.claims.expires_at + timedelta(seconds=2 * LEEWAY_S)
    async with database.write() as tx:
        await tokens.blacklist(tx, session.claims.jti, session.user.id, keep_until)


def signing_ring(settings: Settings) -> tuple[bytes, ...]:
    """The keys, the signing one first. Makes `DATA_DIR/jwt_secret` where none is set, which only loopback may."""
    previous = tuple(secret.get_secret_value().encode() for secret in settings.jwt_secret_previous)
    if settings.jwt_secret is not None:
        return (settings.jwt_secret.get_secret_value().encode(), *previous)
    return (_kept_secret(settings.data_dir / SECRET_FILE), *previous)


def _kept_secret(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        _make(path)
        mode = path.stat().st_mode
    if stat.S_IMODE(mode) & 0o077:
        raise BadSettings((f"JWT_SECRET: its file {path} may be read by others; chmod 600 it",))
    secret = path.read_bytes().strip()
    if len(secret) < MIN_SECRET_BYTES:
        raise BadSettings((f"JWT_SECRET: its file {path} is damaged; remove it to have a new one made",))
    return secret


def _make(path: Path) -> None:
    """Whole or not at all, and the first of two processes wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(MIN_SECRET_BYTES).encode())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
