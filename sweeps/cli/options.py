"""Options that several commands share."""

from __future__ import annotations

import click

split_option = click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Held-out images to evaluate on. Choose on validation, report on test.",
)
