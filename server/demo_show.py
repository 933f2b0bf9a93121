"""What the demo puts on the screen: steps, a live transcript under a ticking cost line, and the books."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.status import Status
from rich.table import Table

from pipeline.conducted import CallReplay
from pipeline.journal_file import read_lines
from pipeline.timeline import latencies
from server.routes.calls import percentile

if TYPE_CHECKING:
    from server.demo import Outcome

PLAIN_EVERY_S = 10
"""Without a terminal the cost line is printed this often instead of ticking."""


class Show:
    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._status: Status | None = None
        self._loading: Status | None = None
        self._cost = "not answered yet"

    def loading(self, name: str, done: bool) -> None:
        if done:
            if self._loading is not None:
                self._loading.stop()
            self._console.print(f"[green]✓[/] loaded {name}")
        else:
            self._loading = self._console.status(f"loading {name} …")
            self._loading.start()

    def step(self, what: str, detail: str) -> None:
        self._console.print(f"[green]✓[/] {what}: {detail}")

    def sms(self, to: str, body: str) -> None:
        self._console.print(Panel(body, title=f"text message to {to}", expand=False, border_style="cyan"))

    @contextmanager
    def live(self) -> Iterator[None]:
        self._console.rule("the call, live")
        with self._console.status(self._cost) as self._status:
            yield
        self._status = None

    def news(self, kind: str, data: Mapping[str, Any]) -> None:
        match kind:
            case "status":
                self._console.print(f"[dim]· {data['status']}[/]")
            case "turn" if "latency" in data:
                pass  # the table at the end has it
            case "turn" if "text" in data:
                self._turn(data)
            case "warning":
                self._console.print(f"[yellow]! budget warning: {data['seconds_left']} s left[/]")
            case "cost":
                self._tick(int(data["second"]), str(data["total_usd"]))
            case "ended":
                self._console.print(f"[dim]· ended: {data['end_reason']}[/]")
            case _:
                pass

    def _turn(self, data: Mapping[str, Any]) -> None:
        who = "[bold magenta]Sarah [/]" if data["role"] == "agent" else "[bold cyan]Jordan[/]"
        cut = " [dim](interrupted)[/]" if data["interrupted"] else ""
        line = Table.grid(padding=(0, 1))
        line.add_row(who, f"{data['text']}{cut}")
        self._console.print(line)

    def _tick(self, second: int, total: str) -> None:
        self._cost = f"{second // 60}:{second % 60:02d}  cost ${total}"
        if self._status is not None and self._console.is_terminal:
            self._status.update(self._cost)
        elif second % PLAIN_EVERY_S == 0:
            self._console.print(f"[dim]  {self._cost}[/]")

    # -- afterwards --------------------------------------------------------------------

    def outcome(self, outcome: Outcome) -> None:
        self._console.rule("what it cost")
        self._console.print(self._costs(outcome))
        self._console.rule("how fast it answered")
        self._console.print(self._speed(outcome))
        self._console.rule("what Sarah remembers of Jordan")
        for memory in outcome.memories:
            self._console.print(f"{memory['kind']:8} {memory['text']}", markup=False)
        if not outcome.memories:
            self._console.print(f"nothing ({outcome.call['memory'] or 'nothing was asked'})")
        self._console.rule("the books")
        report = outcome.report
        self._console.print(
            f"ledger check: {report.events} charges, {report.explained_share:.2%} explained, "
            f"{len(report.breaches)} breaches"
        )
        self._console.print(_replayed(outcome.again))
        self._console.print(f"recording (left the caller, right Sarah): {outcome.wav}", soft_wrap=True)
        self._console.print(f"journal: {outcome.journal}", soft_wrap=True)
        self._console.print(f"replay it: make replay FILE={outcome.journal}", soft_wrap=True)
        for problem in outcome.problems:
            self._console.print(f"[bold red]✗ {problem}[/]")
        if not outcome.problems:
            self._console.print("[bold green]✓ everything held[/]")

    def _costs(self, outcome: Outcome) -> Table:
        table = Table("service", "model", "quantity", "USD")
        for line in outcome.costs["lines"]:
            table.add_row(
                line["service"], line["model"], _quantity(line["quantity"], line["unit"]), line["usd"]
            )
        table.add_row(
            "[bold]total", "", f"{outcome.call['duration_seconds']} s", f"[bold]{outcome.costs['total_usd']}"
        )
        return table

    def _speed(self, outcome: Outcome) -> Table:
        table = Table()
        table.add_column("caller said", no_wrap=True, overflow="ellipsis", max_width=26)
        for name in ("end of turn", "token", "audio", "frame", "audible"):
            table.add_column(name, justify="right", no_wrap=True)
        answers = latencies(read_lines(outcome.journal))
        for turn in answers:
            timed = turn.timed
            stages = (
                timed.end_of_turn_ms,
                timed.first_token_ms,
                timed.first_audio_ms,
                timed.first_frame_ms,
                timed.audible_ms,
            )
            table.add_row(turn.said, *(str(stage) for stage in stages))
        table.caption = "ms after the caller's last audible sample"
        if answers:
            audible = [turn.timed.audible_ms for turn in answers]
            table.caption += f"; p50 {percentile(audible, 50)}, p95 {percentile(audible, 95)}"
        if outcome.latencies_ms:
            table.caption += f"; as the carrier itself saw it: p50 {percentile(outcome.latencies_ms, 50)}"
        return table


def _replayed(again: CallReplay) -> str:
    """What the replay that was just made has found."""
    if (difference := again.replay.difference) is not None:
        return f"replay: level 2 differs at line {difference.line} of the journal"
    return (
        f"replay: level 2 exact, {again.replay.steps:,} steps and {again.frames:,} chunks of sound, "
        "without engines or network"
    )


def _quantity(count: int, unit: str) -> str:
    names = {"token_in": "token in", "token_cached": "token cached", "token_out": "token out"}
    name = names.get(unit, unit)
    return f"{count:,} {name if count == 1 else name.replace('token', 'tokens') if 'token' in name else name + 's'}"
