"""A command that was typed wrongly: one line on standard error, like everything else that goes wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

import typer
from typer.core import TyperGroup

# The library names only one of its errors of usage in public; what that one is a kind of is all of them.
MISTYPED = cast("tuple[type[typer.BadParameter], ...]", typer.BadParameter.__bases__)
HELP_ASKED = "NoArgsIsHelpError"
"""Nothing was typed where something is needed: the help is the answer."""


class OneLine(TyperGroup):
    """The whole command line; the library would draw a box of several lines around what was wrong."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except MISTYPED as error:
            if not standalone_mode:
                raise
            _tell(error)
            sys.exit(error.exit_code)
        except typer.Abort:
            if not standalone_mode:
                raise
            typer.echo("callmeback: aborted", err=True)
            sys.exit(1)
        if standalone_mode:
            sys.exit(code)
        return code


def _tell(error: typer.BadParameter) -> None:
    if type(error).__name__ == HELP_ASKED:
        error.show()
        return
    said = " ".join(error.format_message().split())
    asked = "callmeback" if error.ctx is None else error.ctx.command_path
    typer.echo(f"callmeback: {said.rstrip('.')}; see {asked} --help", err=True)
