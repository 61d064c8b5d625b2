"""The command `sweeps`. Commands are imported when they are called."""

from __future__ import annotations

import click

from clmethods.standard_streams import open_missing_streams
from clmethods.version import __version__
from sweeps.cli.lazy_group import LazyGroup

SUMMARIES = {
    "init": "Write a new sweep file: a copy of a shipped study.",
    "plan": "Show what a run would train, its data, its cost, and likely problems.",
    "run": "Run a sweep.",
    "status": "Show drivers, nodes, progress, throughput and failures.",
    "report": "Write an HTML report: one file that needs no network.",
    "pareto": "Show the Pareto front, with 95 % intervals over replicates.",
    "orders": "Show how much the task order matters.",
    "effects": "Show the effects, interactions and importance of all axes.",
    "path": "Show paths between two configurations, one factor per step.",
    "matrices": "Show importance, freezing and drift of every weight matrix.",
    "compare": "Compare two sweeps, paired by configuration, order and seed.",
    "select": "Select a configuration under constraints, with reasons.",
    "query": "Query the result tables with SQL.",
    "dashboard": "Show a sweep as an Optuna study in optuna-dashboard.",
    "why": "Show the first stage and the fields in which trials differ.",
    "verify": "Train a sample of stored stages again and compare all bits.",
    "export": "Write the result tables as single Parquet or CSV files.",
    "fork": "Write a sweep file that continues a trial from its stage K.",
    "restore": "Restore the stored sweep file of a sweep after it was changed, damaged or lost.",
    "gc": "Find or delete stages that no sweep of a storage needs.",
    "schema": "Print the JSON Schema of a sweep file, for editors.",
}
"""First sentence of the help of each command, in the sequence of `sweeps --help`."""

READERS = frozenset(
    {
        *("status", "pareto", "orders", "effects", "path", "matrices", "compare", "select"),
        *("query", "why", "export", "gc"),
    }
)
"""Commands that read results, and therefore must start fast."""


@click.group(
    cls=LazyGroup,
    package="sweeps.cli.commands",
    modules={"plan": "run"},
    summaries=SUMMARIES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__)
@click.pass_context
def main(context: click.Context) -> None:
    """Sweeps over continual-learning runs: plan, run on Ray Tune, analyze.

    SWEEP is the name of a shipped study (such as digits_demo) or the path of a YAML file. DIR is
    a storage that holds one sweep, or STORAGE/sweeps/NAME.
    """
    open_missing_streams()
    if context.invoked_subcommand in READERS:
        from sweeps.cli.arrow_without_pandas import skip_pandas

        skip_pandas()
