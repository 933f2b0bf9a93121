"""The console's pages as the server gives them out: whole, strict, and without anybody else's help."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path
from subprocess import PIPE

import httpx
import pytest

from server.console import HERE, PAGES, REFERENCE, content_policy, modules
from server.console.examples import EXAMPLES, Example
from server.money.auditing import RESULT
from tests.server.rig import Rig
from tests.server.test_placing import ringing

ORIGIN = "http://127.0.0.1:8123"
STATIC = HERE / "static"
ADDRESS = re.compile(r"""(?:https?:)?//[\w.-]+\.\w+""")
NAMESPACES = {"http://www.w3.org"}


@pytest.mark.parametrize("page", [*PAGES, REFERENCE], ids=lambda page: page.path)
async def test_a_page_loads_only_files_that_are_there(rig: Rig, page: object) -> None:
    path = str(getattr(page, "path", "")).replace("{id}", "x")
    answer = await rig.http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == content_policy(rig.parts.settings.public_url)
    wanted = re.findall(r"""(?:src|href)="(/static/[^"]+)""", answer.text)
    assert any(each.endswith(".js") for each in wanted)
    for each in wanted:
        assert (await rig.http.get(each)).status_code == 200, each


def test_the_policy_allows_no_inline_code_and_nobody_else() -> None:
    policy = content_policy("https://call.example")
    assert "unsafe" not in policy
    assert "connect-src 'self' wss://call.example" in policy
    assert policy.startswith("default-src 'none'")


async def test_no_page_has_inline_scripts_or_styles(rig: Rig) -> None:
    for page in (*PAGES, REFERENCE):
        text = (await rig.http.get(page.path.replace("{id}", "x"))).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), page.path
        assert "<style" not in text, page.path
        assert not re.search(r"""\s(?:style|on\w+)=["']""", text), page.path


def test_a_page_names_all_that_its_script_imports() -> None:
    found = modules(next(page for page in PAGES if page.module == "calls"))
    assert found[0] == "pages/calls.js"
    assert {"shell.js", "api.js", "session.js", "word-search.js"} <= set(found), "also what those import"
    assert "wave.js" not in found
    assert len(found) == len(set(found))


DONE_BY_HAND = re.compile(r"""(?:\bnoted\(\s*tx,\s*ask,\s*|\bon_record\(\s*tx,\s*|\baction=)"([a-z_.]+)\"""")
CHOSEN = re.compile(r"""\baction = "([a-z_.]+)" if .* else "([a-z_.]+)\"""")
KIND = re.compile(r"""^KIND = "([a-z_]+)\"""", re.MULTILINE)
ADDED = re.compile(r"\bjobs\.(?:add|keep)\(")


def test_everything_on_record_has_plain_words() -> None:
    """In the audit trail, of background work: what the operator reads is no name of ours."""
    sources = [file.read_text() for file in HERE.parent.rglob("*.py")]
    wording = (STATIC / "js" / "wording.js").read_text()
    actions = {name for text in sources for name in DONE_BY_HAND.findall(text)}
    actions |= {name for text in sources for pair in CHOSEN.findall(text) for name in pair} | {RESULT}
    assert {"credit.granted", "inbound.unblocked", "adjust", "persona.removed"} <= actions, "they are found"
    kinds = {name for text in sources if ADDED.search(text) for name in KIND.findall(text)}
    assert {"audit", "payments", "retention"} <= kinds, "they are found"
    for block, names in (("DEEDS", actions), ("JOBS", kinds)):
        (known,) = re.findall(rf"const {block} = {{(.*?)}};", wording, re.DOTALL)
        assert names == set(re.findall(r"""(?:^|[\s,])"?([a-z_.]+)"?: \"""", known)), block


def _files(*suffixes: str) -> list[Path]:
    return sorted(file for file in HERE.rglob("*") if file.suffix in suffixes)


@pytest.mark.parametrize("file", _files(".js", ".css", ".html", ".svg"), ids=lambda file: file.name)
def test_no_file_names_another_host(file: Path) -> None:
    found = {match.group().rstrip("/") for match in ADDRESS.finditer(file.read_text())}
    assert not found - NAMESPACES


@pytest.mark.parametrize("file", _files(".js"), ids=lambda file: file.name)
def test_every_import_of_a_module_is_there(file: Path) -> None:
    text = file.read_text()
    for wanted in re.findall(r"""from "([^"]+)";""", text):
        assert (file.parent / wanted).resolve().is_file(), wanted
    assert "innerHTML" not in text, "text is never taken for HTML"


async def test_an_address_that_is_none_is_a_page_for_people_and_a_problem_for_programs(rig: Rig) -> None:
    browsing = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = await rig.http.get("/nowhere", headers=browsing)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no such page" in page.text
    assert page.headers["content-security-policy"] == content_policy(rig.parts.settings.public_url)
    for wanted in re.findall(r"""(?:src|href)="(/static/[^"]+)""", page.text):
        assert (await rig.http.get(wanted)).status_code == 200, wanted
    for path, headers in (("/nowhere", {}), ("/api/nowhere", browsing), ("/nowhere", {"accept": "*/*"})):
        problem = await rig.http.get(path, headers=headers)
        assert (problem.status_code, problem.json()["code"]) == (404, "not_found"), path
    assert (await rig.http.post("/nowhere", headers=browsing)).json()["code"] == "not_found"
    assert (await rig.http.post("/calls", headers=browsing)).status_code == 405


async def test_files_are_asked_for_again_and_not_sent_again(rig: Rig) -> None:
    first = await rig.http.get("/static/css/base.css")
    assert first.headers["cache-control"] == "no-cache"
    again = await rig.http.get("/static/css/base.css", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert (await rig.http.get("/static/../__init__.py")).status_code == 404


async def test_the_reference_names_every_route_and_refusal(rig: Rig) -> None:
    described = (await rig.http.get("/openapi.json")).json()
    text = (await rig.http.get("/docs")).text
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert f"<code>{method.upper()} {path}</code>" in text
            assert operation["summary"].replace("&", "&amp;").replace("'", "&#39;") in text


async def test_the_examples_of_the_reference_work(tmp_path: Path) -> None:
    async with ringing(tmp_path) as (rig, _carrier):
        kept: dict[str, str] = {}
        for example in EXAMPLES:
            if rig.carrier.sms:
                kept["code"] = rig.carrier.last_code()
            answer = await _made(rig, example, kept)
            assert answer.status_code == example.status, (example.title, answer.text)
            kept |= {name: answer.json()[field] for name, field in example.saves}
            if "token" in kept and "credited" not in kept:
                kept["credited"] = "yes"
                await _credited(rig, kept["token"])


async def _made(rig: Rig, example: Example, kept: dict[str, str]) -> httpx.Response:
    """What curl is told, once a shell has read the command."""
    script = 'curl() { printf "%s\\0" "$@"; }\n' + example.command(ORIGIN)
    read = await asyncio.to_thread(subprocess.run, ["sh", "-c", script], env=kept, stdout=PIPE, check=True)
    silent, url, *options = read.stdout.decode().removesuffix("\0").split("\0")
    assert silent == "-s"
    given = dict(zip(options[::2], options[1::2], strict=True))
    name, _, value = given.get("-H", "").partition(": ")
    method = given.get("-X", "POST" if "--json" in given else "GET")
    return await rig.http.request(
        method, url.removeprefix(ORIGIN), headers={name: value} if name else {},
        json=json.loads(given["--json"]) if "--json" in given else None,
    )  # fmt: skip


async def _credited(rig: Rig, token: str) -> None:
    me = (await rig.http.get("/api/me", headers={"authorization": f"Bearer {token}"})).json()
    from pipeline.core.money import parse_usd
    from storage import ledger

    async with rig.parts.database.write() as tx:
        await ledger.grant(
            tx, user_id=me["id"], amount=parse_usd("5"), kind="grant", idem_key="example", now=rig.clock.utc()
        )
