"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sweeps.presentation.documents import Document

new_sweep_file_option = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The new sweep file. Its name becomes the name of the sweep.",
)


class FiniteRange(click.FloatRange):
    """Finite number within limits. The base type of Click accepts NaN for any limits."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or end the command with a message."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


split_option = click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Held-out images to evaluate on. Choose on validation, report on test.",
)

escape_option = click.option(
    "--escape/--no-escape",
    default=True,
    show_default=True,
    help="CSV only: put an apostrophe before texts that a spreadsheet would run as a formula.",
)

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document with the same numbers; see docs/json.md.",
)


def print_document(document: Document, as_json: bool) -> None:
    """Print a document as text, or as JSON with its warnings."""
    click.echo(document.json if as_json else document.text)
