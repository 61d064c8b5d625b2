"""Command line interface `clmethods`: train, evaluate, export, extend, predict; show data."""

from __future__ import annotations

import click

from clmethods.cli.data import data
from clmethods.cli.evaluate import evaluate
from clmethods.cli.export import export
from clmethods.cli.extend import extend
from clmethods.cli.history import history
from clmethods.cli.predict import predict
from clmethods.cli.train import train
from clmethods.standard_streams import open_missing_streams
from clmethods.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Continual learning with LoRA on a frozen Vision Transformer."""
    open_missing_streams()


for command in (train, evaluate, export, extend, history, predict, data):
    main.add_command(command)
