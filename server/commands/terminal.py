"""What somebody who starts `callmeback serve` by hand sees on standard error besides the log.

Models that load, and where to go when they have. Without a terminal nothing of this is used:
the log says it all.
"""

from __future__ import annotations

from rich.console import Console
from rich.status import Status

from server.settings import Settings


class Terminal:
    """To be closed however the start goes: a spinner that is left running hides the cursor."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._spinner: Status | None = None

    def loading(self, name: str, done: bool) -> None:
        self.close()
        if done:
            self._console.print(f"[green]✓[/] loaded {name}")
        else:
            self._spinner = self._console.status(f"loading {name} …")
            self._spinner.start()

    def ready(self, settings: Settings) -> None:
        lines = [
            f"Call Me Back is ready: {settings.public_url} (Ctrl-C stops it)",
            f'Next: "Serve it, and place a call by hand" in README.md; every route: {settings.public_url}/openapi.json',
        ]
        if settings.simulated:
            lines.append("Simulated phone: codes and texts appear here.")
        self._console.print("\n".join(lines), markup=False, soft_wrap=True)

    def close(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None
