"""Tokens, logins and passwords under attack; A-numbers are the rows of the project's attack table."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import Refused
from server import auth
from server.auth import AUDIENCE, Tokens, key_id, signing_ring
from server.errors import Problem
from server.metrics import PASSWORD_HASHES
from server.passwords import Passwords
from server.settings import BadSettings, load
from storage import tokens, users
from tests.server.rig import NOON, PASSWORD, SECRET, ManualClock, Person, Rig, running, settings

ISSUER = "http://127.0.0.1:8000"


def claims_of(person: Person, **changes: object) -> dict[str, Any]:
    """The claims of a good token with these changes; `...` leaves one out."""
    good = jwt.decode(person.token, options={"verify_signature": False})
    return {key: value for key, value in {**good, **changes}.items() if value is not ...}


def forged(claims: dict[str, Any], key: str = SECRET, **headers: object) -> str:
    return jwt.encode(claims, key, "HS256", headers={"kid": key_id(SECRET.encode()), **headers})


def raw(header: dict[str, object], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def bad_tokens(person: Person) -> dict[str, str]:
    good = claims_of(person)
    kid = key_id(SECRET.encode())
    now = int(NOON.timestamp())
    head, body, signature = person.token.split(".")
    return {
        "alg none": raw({"alg": "none", "kid": kid}, good),
        "alg None": raw({"alg": "NONE", "kid": kid}, good),
        "alg HS512": jwt.encode(good, SECRET * 2, "HS512", headers={"kid": kid}),
        "RS256 with our key": raw({"alg": "RS256", "kid": kid}, good, b"x" * 256),
        "empty signature": f"{head}.{body}.",
        "cut signature": f"{head}.{body}.{signature[:-4]}",
        "altered claim": raw({"alg": "HS256", "kid": kid}, {**good, "sub": "x"}, b"y" * 32),
        "other key": forged(good, key="another key, also of forty bytes or more."),
        "kid is a path": forged(good, kid="../../../dev/null"),
        "kid of nobody": forged(good, kid="0" * 16),
        "kid is a number": raw({"alg": "HS256", "kid": 7}, good, b"y" * 32),
        "no kid": jwt.encode(good, SECRET, "HS256"),
        "jku": forged(good, jku="https://example.com/keys"),
        "jwk": forged(good, jwk={"kty": "oct", "k": "AAAA"}),
        "x5u": forged(good, x5u="https://example.com/cert"),
        "crit": forged(good, crit=["exp"]),
        **{f"no {name}": forged(claims_of(person, **{name: ...})) for name in good},
        "another claim": forged({**good, "admin": True}),
        "exp as text": forged({**good, "exp": str(good["exp"])}),
        "exp as a fraction": forged({**good, "exp": good["exp"] + 0.5}),
        "exp is true": forged({**good, "exp": True}),
        "exp far away": forged({**good, "exp": good["exp"] + 86_400}),
        "25 h old": forged({**good, "iat": now - 25 * 3600, "exp": now - 3600}),
        "just over": forged({**good, "iat": now - 86_400 - 30, "exp": now - 30}),
        "from the future": forged({**good, "iat": now + 31, "exp": now + 86_400}),
        "stream ticket": forged({**good, "typ": "stream"}),
        "other audience": forged({**good, "aud": "another"}),
        "audiences": forged({**good, "aud": [AUDIENCE, "another"]}),
        "other issuer": forged({**good, "iss": "https://example.com"}),
        "old version": forged({**good, "tv": good["tv"] - 1}),
        "version as text": forged({**good, "tv": "0"}),
        "nobody's": forged({**good, "sub": "f" * 32}),
        "no token": "",
        "no dots": "abc",
        "too many dots": person.token + ".x",
        "huge": person.token + "A" * 5000,
        "not ascii": "ä.ö.ü",
    }


async def test_a12_every_bad_token_gets_the_same_401(rig: Rig) -> None:
    person = await rig.register()
    answers = set()
    for name, token in bad_tokens(person).items():
        answer = await rig.http.get("/api/me", headers=[(b"authorization", f"Bearer {token}".encode())])
        assert answer.status_code == 401, name
        answers.add((answer.content, answer.headers["www-authenticate"]))
    for header in (None, "", "Bearer", f"Basic {person.token}", person.token):
        headers = {} if header is None else {"authorization": header}
        answer = await rig.http.get("/api/me", headers=headers)
        answers.add((answer.content, answer.headers["www-authenticate"]))
    assert len(answers) == 1
    assert (await person.get("/api/me")).status_code == 200


async def test_a_token_lives_24_hours_and_half_a_minute_of_doubt(rig: Rig) -> None:
    person = await rig.register()
    rig.clock.move(86_400 + 29)
    assert (await person.get("/api/me")).status_code == 200
    rig.clock.move(2)
    assert (await person.get("/api/me")).status_code == 401


async def test_a13_a_token_ends_with_its_logout_and_no_other_does(rig: Rig) -> None:
    person = await rig.register()
    other = (await rig.login(person.email, PASSWORD)).json()["token"]
    assert (await person.post("/api/auth/logout")).status_code == 204
    assert (await person.get("/api/auth/validate")).status_code == 401
    assert (await person.post("/api/auth/logout")).status_code == 401
    assert (await Person(rig, other, person.id, person.email).get("/api/me")).status_code == 200


async def test_a14_a_forged_logout_ends_nothing(rig: Rig) -> None:
    person = await rig.register()
    jti = claims_of(person)["jti"]
    answer = await rig.http.post(
        "/api/auth/logout",
        headers={
            "authorization": f"Bearer {forged(claims_of(person), key='not the key, though it is long enough')}"
        },
    )
    assert answer.status_code == 401
    async with rig.parts.database.read() as tx:
        assert not await tokens.is_blacklisted(tx, jti)


def put_away(data_dir: Path) -> None:
    """Where the database was, there is nothing that can be opened."""
    for name in data_dir.glob("callmeback.db*"):
        name.unlink()
    (data_dir / "callmeback.db").mkdir()


async def test_a15_no_database_no_entry(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as rig:
        person = await rig.register()
        await rig.parts.database.aclose()
        put_away(tmp_path)
        for method, path in (("GET", "/api/me"), ("GET", "/api/auth/validate"), ("POST", "/api/auth/logout")):
            answer = await person.ask(method, path)
            assert answer.status_code == 503, path
            assert answer.json()["code"] == "overloaded"
            assert int(answer.headers["retry-after"]) >= 1
        assert (await rig.http.get("/readyz")).status_code == 503


async def test_a16_an_old_key_holds_until_it_is_removed(tmp_path: Path) -> None:
    new = "another secret, of the same length or so"
    async with running(settings(tmp_path)) as rig:
        person = await rig.register()
    async with running(settings(tmp_path, jwt_secret=new, jwt_secret_previous=SECRET)) as rig:
        moved = Person(rig, person.token, person.id, person.email)
        assert (await moved.get("/api/me")).status_code == 200
        fresh = (await rig.login(person.email, PASSWORD)).json()["token"]
        assert jwt.get_unverified_header(fresh)["kid"] == key_id(new.encode())
    async with running(settings(tmp_path, jwt_secret=new)) as rig:
        moved = Person(rig, person.token, person.id, person.email)
        assert (await moved.get("/api/me")).status_code == 401
        assert (await Person(rig, fresh, person.id, person.email).get("/api/me")).status_code == 200


async def test_a_bumped_token_version_ends_every_token(rig: Rig) -> None:
    person = await rig.register()
    async with rig.parts.database.write() as tx:
        await users.update(tx, person.id, end_sessions=True)
    assert (await person.get("/api/me")).status_code == 401


def hashes() -> float:
    samples = next(iter(PASSWORD_HASHES.collect())).samples
    return next(sample.value for sample in samples if sample.name.endswith("_total"))


async def test_a17_unknown_and_known_users_cost_the_same_and_look_the_same(rig: Rig) -> None:
    """Both do exactly one hash of the same cost; the clock is left to benchmarks."""
    person = await rig.register()
    bodies = set()
    for email in (person.email, "nobody@example.com"):
        before = hashes()
        answer = await rig.login(email, "wrong password")
        assert hashes() - before == 1
        assert answer.status_code == 401
        bodies.add(answer.content)
    assert len(bodies) == 1
    assert Problem.model_validate_json(bodies.pop()).code == "bad_credentials"


@pytest.mark.parametrize("password", ["", "short", "x" * 2_000, "nul\0inside"])
async def test_what_cannot_be_a_password_is_a_wrong_one_and_costs_the_same(rig: Rig, password: str) -> None:
    """Its length is nothing to be told about when somebody logs in."""
    person = await rig.register()
    wrong = await rig.login(person.email, "wrong password")
    for email in (person.email, "nobody@example.com"):
        before = hashes()
        answer = await rig.login(email, password)
        assert (answer.status_code, answer.content) == (401, wrong.content)
        assert hashes() - before == 1
    changed = {"current_password": password, "new_password": "staple battery 42"}
    refused = await person.post("/api/me/password", changed)
    assert [error["message"] for error in refused.json()["errors"]] == ["is not your password"]


LONG = "slow and steady " * 64 + "s"
"""1,025 bytes."""


@pytest.mark.parametrize(
    ("password", "works"),
    [
        (LONG[:7], False),
        (LONG[:8], True),
        (LONG[:72], True),
        (LONG[:73], True),
        (LONG[:1024], True),
        (LONG, False),
        ("nul\0inside", True),
        ("🐢🐇", False),
        ("🐢🐇🦔 turtle", True),
        ("🐢" * 257, False),
    ],
)
async def test_a18_passwords_by_length_and_letters(rig: Rig, password: str, works: bool) -> None:
    body = {"email": "ann@example.com", "password": password, "name": "Ann"}
    answer = await rig.http.post("/api/auth/register", json=body)
    assert answer.status_code == (201 if works else 422)
    if works:
        assert (await rig.login("ann@example.com", password)).status_code == 200
        assert (await rig.login("ann@example.com", password[:-1] + "x")).status_code in {401, 422}


async def test_a18_what_differs_only_after_byte_72_or_a_nul_differs() -> None:
    passwords = Passwords(cost=4)
    for one, two in (
        ("x" * 72 + "1", "x" * 72 + "2"),
        ("before\0one", "before\0two"),
        ("before\0", "before"),
    ):
        stored = await passwords.hash(one)
        assert await passwords.matches(one, stored)
        assert not await passwords.matches(two, stored)
    passwords.close()


async def test_the_hash_is_bcrypt_over_sha256_as_documented() -> None:
    import bcrypt

    passwords = Passwords(cost=4)
    stored = await passwords.hash(PASSWORD)
    prepared = base64.b64encode(hashlib.sha256(PASSWORD.encode()).digest())
    assert bcrypt.checkpw(prepared, stored.encode())
    assert stored.startswith("$2b$04$")
    assert not await passwords.matches(PASSWORD, "no hash at all")
    passwords.close()


async def test_a19_a_flood_of_logins_is_refused_beyond_the_queue() -> None:
    passwords = Passwords(cost=4, waiting=16)
    results = await asyncio.gather(
        *(passwords.matches(PASSWORD, None) for _ in range(50)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, Refused)]
    assert len(refused) == 50 - 17
    assert {(error.code, error.status) for error in refused} == {("overloaded", 503)}
    assert all(error.retry_after for error in refused)
    assert not await passwords.matches(PASSWORD, None)
    passwords.close()


async def test_a20_a_known_email_is_told_apart_only_at_registration(rig: Rig) -> None:
    person = await rig.register()
    answer = await rig.http.post(
        "/api/auth/register", json={"email": "ANN@Example.com", "password": PASSWORD, "name": "Eve"}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")
    assert (await person.get("/api/me")).json()["name"] == "Ann"


async def test_five_failures_close_an_account_to_one_address_only(rig: Rig) -> None:
    person = await rig.register()
    for _ in range(5):
        assert (await rig.login(person.email, "wrong password")).status_code == 401
    answer = await rig.login(person.email.upper(), PASSWORD)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 900
    assert (await rig.login(person.email, PASSWORD, address="203.0.113.9")).status_code == 200
    rig.clock.move(900)
    assert (await rig.login(person.email, PASSWORD)).status_code == 200


async def test_failures_at_the_same_moment_do_not_outrun_the_limit(rig: Rig) -> None:
    person = await rig.register()
    answers: list[httpx.Response] = await asyncio.gather(
        *(rig.login(person.email, "wrong password") for _ in range(12))
    )
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 7


async def test_successes_are_no_failures(rig: Rig) -> None:
    person = await rig.register()
    for _ in range(8):
        assert (await rig.login(person.email, PASSWORD)).status_code == 200


async def test_an_address_that_tries_many_accounts_is_stopped(tmp_path: Path) -> None:
    async with running(settings(tmp_path, login_failures_per_ip=7)) as rig:
        codes = [(await rig.login(f"{n}@example.com", "wrong password")).status_code for n in range(9)]
        assert codes == [401] * 7 + [429] * 2
        # IPv6: one customer, one /64.
        codes = [
            (await rig.login(f"{n}@example.com", "wrong password", f"2001:db8::{n}")).status_code
            for n in range(9)
        ]
        assert codes == [401] * 7 + [429] * 2


async def test_registrations_are_limited_by_address(tmp_path: Path) -> None:
    async with running(settings(tmp_path, registrations_per_ip=2)) as rig:
        await rig.register("a@example.com")
        await rig.register("b@example.com")
        body = {"email": "c@example.com", "password": PASSWORD, "name": "C"}
        assert (await rig.http.post("/api/auth/register", json=body)).status_code == 429
        rig.clock.move(3600)
        assert (await rig.http.post("/api/auth/register", json=body)).status_code == 201


def test_a46_a_made_secret_is_private_and_lasts(tmp_path: Path) -> None:
    lonely = load({"DATA_DIR": str(tmp_path)})
    ring = signing_ring(lonely)
    file = tmp_path / auth.SECRET_FILE
    assert len(ring) == 1
    assert len(ring[0]) >= 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert signing_ring(lonely) == ring
    assert [path.name for path in tmp_path.iterdir()] == [auth.SECRET_FILE]


def test_a46_a_secret_others_can_read_or_that_is_damaged_stops_the_start(tmp_path: Path) -> None:
    lonely = load({"DATA_DIR": str(tmp_path)})
    secret = signing_ring(lonely)[0].decode()
    file = tmp_path / auth.SECRET_FILE
    file.chmod(0o644)
    with pytest.raises(BadSettings, match="JWT_SECRET") as refused:
        signing_ring(lonely)
    assert secret not in str(refused.value)
    file.chmod(0o600)
    file.write_text("short")
    with pytest.raises(BadSettings, match="JWT_SECRET"):
        signing_ring(lonely)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: data.decode("latin-1")))
def test_no_text_is_a_token(text: str) -> None:
    reader = Tokens((SECRET.encode(),), ISSUER, ManualClock())
    with pytest.raises(Refused) as refused:
        reader.read(text)
    assert refused.value.status == 401


def test_the_name_of_a_key_does_not_give_it_away() -> None:
    assert key_id(b"a" * 32) != key_id(b"b" * 32)
    assert b"a" * 8 not in key_id(b"a" * 32).encode()
