"""The command line, against a real SQLite file."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import bcrypt
import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from storage.db import Database, DatabaseDown, Tx

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command with its data in a directory of its own."""

    def command(*words: str, stdin: str | None = None, **environ: str) -> Result:
        return CliRunner().invoke(
            app, list(words), stdin, env={"DATA_DIR": str(tmp_path), "JWT_SECRET": None, **environ}
        )

    return command


INSERT = (
    "INSERT INTO users (id, email, password_hash, name, phone) VALUES (:id, :email, :hash, :name, :phone)"
)


def test_migrate_says_how_much_it_did(run: Run) -> None:
    first, second = run("migrate"), run("migrate")
    assert first.exit_code == 0
    assert first.stdout.endswith("migrations applied\n")
    assert not first.stdout.startswith("0 ")
    assert second.stdout == "0 migrations applied\n"


@pytest.mark.parametrize("words", [["sql", "SELECT 1"], ["credit", "a@example.com", "5"], ["audit"]])
def test_a_database_that_is_not_there_is_said_and_not_made(
    run: Run, tmp_path: Path, words: list[str]
) -> None:
    result = run(*words)
    assert result.exit_code == 1
    file = tmp_path / "callmeback.db"
    assert result.stderr == (
        f"callmeback: there is no database at {file}; start the server or run: callmeback migrate\n"
    )
    assert list(tmp_path.iterdir()) == []
    run("migrate")
    assert file.is_file()
    assert "there is no database" not in run(*words).stderr


def test_sql_binds_parameters_and_prints_json_lines(run: Run) -> None:
    run("migrate")
    name = "O'Hara; DROP TABLE users; --"
    params = [
        f"--param={pair}" for pair in ("id=u1", "email=a@example.com", "hash=x=y", f"name={name}", "phone=1")
    ]
    assert run("sql", INSERT, *params).exit_code == 0
    rows = run(
        "sql", "SELECT name, password_hash FROM users WHERE email = :e", "--param", "e=a@example.com"
    ).stdout
    assert [json.loads(line) for line in rows.splitlines()] == [{"name": name, "password_hash": "x=y"}]
    assert json.loads(run("sql", "SELECT ? AS a, ? AS b", "--arg", "x", "--arg", "y").stdout) == {
        "a": "x",
        "b": "y",
    }
    typed = run(
        "sql",
        "SELECT :a + 1 AS a, :b AS b, :c AS c",
        "--param=a:int=5",
        "--param=b:float=0.5",
        "--param=c:bool=true",
    )
    assert json.loads(typed.stdout)["a"] == 6
    assert json.loads(typed.stdout)["b"] == 0.5


def test_a_file_runs_whole_or_not_at_all(run: Run, tmp_path: Path) -> None:
    run("migrate")
    file = tmp_path / "two.sql"
    one = "INSERT INTO users (id, email, password_hash, name) VALUES ('u1', 'a@example.com', 'x', 'A');"
    file.write_text(f"{one}\nINSERT INTO nowhere VALUES (1);")
    failed = run("sql", "--file", str(file))
    assert failed.exit_code == 1
    assert "nowhere" in failed.stderr
    assert run("sql", "SELECT id FROM users").stdout == ""
    file.write_text(f"{one}\nSELECT email FROM users;")
    assert json.loads(run("sql", "--file", str(file)).stdout) == {"email": "a@example.com"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["sql"], 2),
        (["sql", "SELECT 1", "--file", "x"], 2),
        (["sql", "SELECT 1", "--param", "x"], 2),
        (["sql", "SELECT :x", "--param", "x:int=a"], 2),
        (["sql", "SELECT :x", "--param", "x:date=a"], 2),
        (["sql", "SELECT :x, ?", "--param", "x=1", "--arg", "2"], 2),
        (["sql", "SELECT :x"], 1),
        (["sql", "SELEC 1"], 1),
        (["sql", "--file", "/nonexistent/file.sql"], 1),
        (["block", "what"], 1),
        (["credit", "nobody@example.com", "5"], 1),
        (["credit", "nobody@example.com", "-5"], 2),
        (["credit", "nobody@example.com", "0.00"], 2),
        (["credit", "nobody@example.com", "1e3"], 2),
        (["replay", "/nonexistent/file.journal"], 2),
        (["nothing"], 2),
    ],
)
def test_what_cannot_be_done_says_so_and_exits(run: Run, words: list[str], code: int) -> None:
    run("migrate")
    result = run(*words)
    assert result.exit_code == code
    assert result.stderr.startswith("callmeback: ")
    assert result.stderr.count("\n") == 1


def test_a_number_is_blocked_and_answered_again(run: Run) -> None:
    run("migrate")
    for words, said in (
        (["+1 202 555 0171"], "not answered any more"),
        (["withheld", "--lift"], "is answered"),
    ):
        result = run("block", *words)
        assert (result.exit_code, said in result.stdout) == (0, True), result.output
    [row] = run("sql", "SELECT method FROM inbound_blocks").stdout.splitlines()
    assert json.loads(row) == {"method": "operator"}
    run("block", "+1 202 555 0171", "--lift")
    assert run("sql", "SELECT method FROM inbound_blocks").stdout == ""


class Unanswered(Database):
    """A real database of which nobody hears whether it has committed."""

    @asynccontextmanager
    async def write(self, *, urgent: bool = False) -> AsyncIterator[Tx]:
        async with super().write(urgent=urgent) as tx:
            yield tx
        raise DatabaseDown("no answer", retryable=True)


def test_what_to_repeat_is_told_where_a_grant_got_no_answer_and_it_grants_no_second_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("migrate")
    params = [f"--param={pair}" for pair in ("id=u1", "email=a@example.com", "hash=x", "name=A", "phone=1")]
    run("sql", INSERT, *params)
    with monkeypatch.context() as patched:
        patched.setattr("storage.db.Database", Unanswered)
        lost = run("credit", "a@example.com", "5", "--note", "two words")
    assert lost.exit_code == 1
    said, repeat = lost.stderr.split("repeat it exactly so: ")
    assert "did not say whether it was granted" in said
    program, *words = shlex.split(repeat)
    assert program == "callmeback"
    assert run(*words).stdout == "granted before: balance 5.00 USD\n"


def test_credit_is_granted_once_under_a_key_and_audited(run: Run) -> None:
    run("migrate")
    params = [f"--param={pair}" for pair in ("id=u1", "email=a@example.com", "hash=x", "name=A", "phone=1")]
    run("sql", INSERT, *params)
    assert run("credit", "A@Example.com", "12.50").stdout == "granted: balance 12.50 USD\n"
    assert run("credit", "a@example.com", "1", "--key", "june").stdout == "granted: balance 13.50 USD\n"
    assert (
        run("credit", "a@example.com", "1", "--key", "june").stdout == "granted before: balance 13.50 USD\n"
    )
    clean = run("audit")
    assert clean.exit_code == 0
    assert "100.00% explained, 0 breaches" in clean.stdout
    told = json.loads(run("audit", "--json").stdout)
    assert (told["ok"], told["breaches"], told["volume_usd"]) == (True, [], "13.50")
    assert {check["looked_at"] for check in told["checks"] if check["over"] == "postings"} == {2}
    run("sql", "UPDATE user_credits SET balance_nano = balance_nano + 1")
    broken = run("audit")
    assert broken.exit_code == 1
    assert "I1" in broken.stdout
    assert "u1" in broken.stdout
    assert "callmeback credit" in broken.stdout, "what to do about it"
    as_json = run("audit", "--json")
    assert as_json.exit_code == 1
    told = json.loads(as_json.stdout)
    assert (told["ok"], told["explained_share"]) == (False, 0.0)
    assert {breach["invariant"] for breach in told["breaches"]} == {"I1", "I12"}


def test_personas_go_out_to_a_file_and_come_in_again(run: Run, tmp_path: Path) -> None:
    run("migrate")
    file = tmp_path / "personas.json"
    assert run("personas", "export", "--out", str(file)).exit_code == 0
    exported = json.loads(run("personas", "export").stdout)
    assert [each["id"] for each in exported] == ["brad", "sarah", "alex"]
    assert json.loads(file.read_text(encoding="utf-8")) == exported
    nora = {**exported[0], "id": "nora", "name": "Nora"}
    file.write_text(json.dumps([{**exported[1], "max_minutes": 9}, nora]), encoding="utf-8")
    done = run("personas", "import", str(file))
    assert (done.exit_code, done.stdout) == (0, "changed sarah: Sarah\nadded nora: Nora\n")
    again = {each["id"]: each for each in json.loads(run("personas", "export").stdout)}
    assert (again["sarah"]["max_minutes"], again["nora"]) == (9, nora)
    file.write_text(json.dumps([nora, {**nora, "id": "x", "voice": "nobody"}]), encoding="utf-8")
    bad = run("personas", "import", str(file))
    assert bad.exit_code == 1
    assert "persona 2: voice: no such voice; there are alex, brad, sarah" in bad.output


def test_an_operator_is_named_and_unnamed(run: Run) -> None:
    run("migrate")
    params = [f"--param={pair}" for pair in ("id=u1", "email=a@example.com", "hash=x", "name=A", "phone=1")]
    run("sql", INSERT, *params)
    role = "SELECT role FROM users"
    assert run("admin", "A@Example.com").stdout == "A@Example.com is an operator\n"
    assert run("sql", role).stdout == '{"role": "admin"}\n'
    assert run("admin", "a@example.com", "--revoke").stdout == "a@example.com is no operator any more\n"
    assert run("sql", role).stdout == '{"role": "user"}\n'
    assert run("admin", "b@example.com").exit_code == 1


@pytest.mark.parametrize("command", [["serve"], ["migrate"], ["sql", "SELECT 1"], ["audit"]])
def test_a46_bad_settings_are_named_without_their_values(run: Run, command: list[str]) -> None:
    result = run(*command, JWT_SECRET="short canary", PORT="canary")
    assert result.exit_code == 1
    assert "JWT_SECRET: " in result.stderr
    assert "PORT: " in result.stderr
    assert "canary" not in result.output


def test_a_data_directory_that_cannot_be_made_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for words, data_dir in ((["migrate"], tmp_path / "file"), (["migrate"], tmp_path / "file" / "data")):
        result = run(*words, DATA_DIR=str(data_dir))
        assert result.exit_code == 1
        assert result.stderr.startswith(f"callmeback: {tmp_path}/file")
        assert result.stderr.count("\n") == 1


def test_replay_tells_exact_from_different_and_from_no_journal(run: Run, tmp_path: Path) -> None:
    journal = tmp_path / "call.journal"
    journal.write_bytes(b"00000000 {}\n")
    damaged = run("replay", str(journal))
    assert damaged.exit_code == 1
    assert "line 1 is damaged" in damaged.output
    journal.write_bytes(b"")
    assert run("replay", str(journal)).exit_code == 1


def test_a46_a_secret_file_that_others_can_read_stops_serve(tmp_path: Path) -> None:
    """In a process of its own: serving sets up the log of the whole process."""
    file = tmp_path / "jwt_secret"
    file.write_text("canary" * 10)
    file.chmod(0o644)
    scripted = {f"{name}_ENGINE": "scripted" for name in ("STT", "LLM", "TTS")}
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "serve"],
        env={"DATA_DIR": str(tmp_path), **scripted},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "callmeback: JWT_SECRET: " in done.stderr
    assert "canary" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_setting_is_told_to_people_and_to_the_log(run: Run, tmp_path: Path) -> None:
    told = "callmeback: warning: MAX_CALL_MINTUES is no setting; did you mean MAX_CALL_MINUTES?\n"
    assert run("migrate", MAX_CALL_MINTUES="canary").stderr == told
    assert run("migrate", MAX_CALL_MINUTES="5").stderr == ""
    (tmp_path / "jwt_secret").write_text("x")
    (tmp_path / "jwt_secret").chmod(0o644)
    done = subprocess.run(  # it does not come to serving
        [sys.executable, "-m", "server.cli", "serve"],
        env={"DATA_DIR": str(tmp_path), "MAX_CALL_MINTUES": "canary"},
        capture_output=True,
        text=True,
        check=False,
    )
    first, logged, *_ = done.stderr.splitlines(keepends=True)
    assert first == told
    entry = json.loads(logged)
    assert (entry["event"], entry["name"], entry["meant"]) == (
        *("unknown_setting", "MAX_CALL_MINTUES", "MAX_CALL_MINUTES"),
    )
    assert "canary" not in done.stderr


def test_openapi_is_json(run: Run) -> None:
    assert json.loads(run("openapi").stdout)["openapi"] == "3.1.0"


def test_help_loads_no_engine_driver_or_server() -> None:
    code = (
        "import sys, server.cli\n"
        "heavy = {'numpy', 'sqlalchemy', 'pydantic', 'starlette', 'uvicorn', 'rich', 'phonenumbers', 'twilio'}\n"
        "sys.exit(', '.join(sorted(heavy & sys.modules.keys())) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_prices_are_brought_in_from_a_sheet(run: Run, tmp_path: Path) -> None:
    sheet = tmp_path / "rates.csv"
    sheet.write_text("destination,usd_per_minute,source\nGB,0.02,contract\n+4420,0.011,contract\n")
    assert "there is no database" in run("prices", "import", str(sheet)).stderr
    run("migrate")
    assert run("prices", "import", str(sheet)).stdout == "2 new, 0 as they were\n"
    assert run("prices", "import", str(sheet)).stdout == "0 new, 2 as they were\n"
    listed = run("prices", "list", OPERATOR_COUNTRY="US,GB,FR")
    assert [line.split()[:2] for line in listed.stdout.splitlines()] == [
        ["+4420", "0.011"], ["GB", "0.02"], ["US", "0.014"],
    ]  # fmt: skip
    assert listed.stderr == "FR         no price: its numbers are not rung\n"
    sheet.write_text("destination,usd_per_minute\nXX,0.02\n")
    wrong = run("prices", "import", str(sheet))
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith(
        "callmeback: rates.csv: line 2: destination: is a country of two capital letters"
    )


def test_what_is_done_by_a_command_is_on_record(run: Run) -> None:
    run("migrate")
    params = [f"--param={pair}" for pair in ("id=u1", "email=a@example.com", "hash=x", "name=A", "phone=1")]
    run("sql", INSERT, *params)
    for words in (
        ("credit", "a@example.com", "2", "--key", "june"), ("credit", "a@example.com", "2", "--key", "june"),
        ("admin", "a@example.com"), ("admin", "a@example.com", "--revoke"),
        ("block", "+12025550171"), ("block", "withheld", "--lift"),
    ):  # fmt: skip
        assert run(*words).exit_code == 0
    found = run("sql", "SELECT actor, action, subject, detail FROM audit_log ORDER BY id").stdout
    assert [tuple(row.values()) for row in map(json.loads, found.splitlines())] == [
        ("command line", "credit.granted", "u1", "2.00 USD: granted by the operator"),
        ("command line", "operator.made", "u1", ""),
        ("command line", "operator.removed", "u1", ""),
        ("command line", "inbound.blocked", "number ending in 71", ""),
        ("command line", "inbound.unblocked", "withheld", ""),
    ]


def test_whoever_forgot_their_password_gets_another_and_all_sessions_end(run: Run) -> None:
    run("migrate")
    params = [f"--param={pair}" for pair in ("id=u1", "email=a@example.com", "hash=x", "name=Ann", "phone=1")]
    run("sql", INSERT, *params)
    for refused, why in (("short\n", "at least 8"), ("password123\n", "common"), ("", "at least 8")):
        told = run("password", "a@example.com", stdin=refused, BCRYPT_COST="10")
        assert (told.exit_code, told.stdout, why in told.stderr) == (1, "", True)
        assert refused.strip() not in told.stderr or not refused
    assert "no account" in run("password", "b@example.com", stdin="staple battery 42\n").stderr
    done = run("password", "A@Example.com", stdin="staple battery 42\n", BCRYPT_COST="10")
    assert done.exit_code == 0, done.stderr
    assert "staple" not in done.stdout + done.stderr
    found = json.loads(run("sql", "SELECT password_hash, token_version FROM users").stdout)
    prepared = base64.b64encode(hashlib.sha256(b"staple battery 42").digest())
    assert bcrypt.checkpw(prepared, found["password_hash"].encode())
    assert found["token_version"] == 1
    log = run("sql", "SELECT action, subject, detail FROM audit_log").stdout.splitlines()
    assert [json.loads(line) for line in log] == [{"action": "password.set", "subject": "u1", "detail": ""}]
