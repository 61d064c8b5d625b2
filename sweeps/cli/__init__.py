"""The command `sweeps`. Imports stay inside the commands, so that none waits for torch in vain."""

from __future__ import annotations

import click

from clmethods import __version__
from sweeps.cli.comparing import compare
from sweeps.cli.dashboard import dashboard
from sweeps.cli.effects_report import effects
from sweeps.cli.forking import fork
from sweeps.cli.inspecting import verify, why
from sweeps.cli.keeping import gc
from sweeps.cli.matrices_report import matrices
from sweeps.cli.path_report import path
from sweeps.cli.querying import query
from sweeps.cli.reading import export, orders, pareto
from sweeps.cli.report import report
from sweeps.cli.running import plan, run
from sweeps.cli.selecting import select
from sweeps.cli.starting import init, schema
from sweeps.cli.status import status


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Sweeps over continual-learning runs: plan, run on Ray Tune, analyse.

    SWEEP is the name of a shipped study (such as digits_demo) or the path of a YAML file. DIR is
    a storage that holds one sweep, or STORAGE/sweeps/NAME.
    """


for command in (
    *(init, plan, run, status, report, pareto, orders, effects, path, matrices),
    *(compare, select, query, dashboard, why, verify, export, fork, gc, schema),
):
    main.add_command(command)
