"""Click group whose commands are imported when they are called, so that `--help` is fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import final

import click


@final
class LazyGroup(click.Group):
    """Group with a summary of each command that is known without importing it."""

    def __init__(
        self,
        name: str | None = None,
        *,
        package: str = "",
        modules: Mapping[str, str] | None = None,
        summaries: Mapping[str, str] | None = None,
        **options: object,
    ) -> None:
        """`summaries`: summaries by command, in the sequence of the help.

        `package` holds a module for each command, with the name of the command or that of
        `modules`. The module has the command as an attribute of the same name.
        """
        super().__init__(name, **options)  # type: ignore[arg-type]
        self._package = package
        self._modules, self._summaries = dict(modules or {}), dict(summaries or {})
        self.on_import: Callable[[], None] = lambda: None
        """Called after the module of a command was imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, also of those that were added by a decorator."""
        return [*self._summaries, *(name for name in self.commands if name not in self._summaries)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None if there is no such command."""
        if cmd_name not in self._summaries:
            return super().get_command(ctx, cmd_name)
        module = import_module(f"{self._package}.{self._modules.get(cmd_name, cmd_name)}")
        command = getattr(module, cmd_name)
        self.on_import()
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))
