"""The command `sweeps`. Slow imports are made only in the commands that need them."""

from __future__ import annotations

import click

from clmethods.standard_streams import open_missing_streams
from clmethods.version import __version__
from sweeps.cli.commands.compare import compare
from sweeps.cli.commands.dashboard import dashboard
from sweeps.cli.commands.effects import effects
from sweeps.cli.commands.export import export
from sweeps.cli.commands.fork import fork
from sweeps.cli.commands.gc import gc
from sweeps.cli.commands.init import init
from sweeps.cli.commands.matrices import matrices
from sweeps.cli.commands.orders import orders
from sweeps.cli.commands.pareto import pareto
from sweeps.cli.commands.path import path
from sweeps.cli.commands.query import query
from sweeps.cli.commands.report import report
from sweeps.cli.commands.restore import restore
from sweeps.cli.commands.run import plan, run
from sweeps.cli.commands.schema import schema
from sweeps.cli.commands.select import select
from sweeps.cli.commands.status import status
from sweeps.cli.commands.verify import verify
from sweeps.cli.commands.why import why


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Sweeps over continual-learning runs: plan, run on Ray Tune, analyze.

    SWEEP is the name of a shipped study (such as digits_demo) or the path of a YAML file. DIR is
    a storage that holds one sweep, or STORAGE/sweeps/NAME.
    """
    open_missing_streams()


for command in (
    *(init, plan, run, status, report, pareto, orders, effects, path, matrices),
    *(compare, select, query, dashboard, why, verify, export, fork, restore, gc, schema),
):
    main.add_command(command)
