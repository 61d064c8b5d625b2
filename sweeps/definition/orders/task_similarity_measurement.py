"""Task tables for designs that follow from the data: from the cache, or from another process.

Features need torch, which planning does not load. So the table is measured by
`clmethods.task_features` in a process of its own, once; then it lies in the cache.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from clmethods.config.backbone import BackboneConfig
from clmethods.config.keys import partition_id
from clmethods.config.methods import LinearProbeConfig
from clmethods.config.run import RunConfig, run_to_dict
from clmethods.config.stream import StreamConfig
from clmethods.config.task_table import TaskTable, table_id
from clmethods.data.task_tables import kept_table
from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.definition.orders import OrderDesign

if TYPE_CHECKING:
    from sweeps.definition.sweep import Sweep

COMMAND = (sys.executable, "-m", "clmethods.task_features")


def measured_design(
    design: OrderDesign, base: RunConfig, runs: Sequence[RunConfig]
) -> OrderDesign:
    """`design` with the tables that `runs` need, if it needs any; the others are left out.

    The backbone is that of `base` for all of them, so that all see the same orders. A table that
    the design brings along is taken as it is: results can be read where the data is not. Raises
    `InvalidConfigError` where data or weights are missing.
    """
    if not design.needs_table:
        return replace(design, measured=())
    brought = {table.of: table for table in design.measured}
    streams = {
        table_id(base.backbone, run.stream): run.stream
        for run in runs
        if not run.method.ORDER_FREE
    }
    found = {identity: brought.get(identity) or kept_table(identity) for identity in streams}
    missing = [streams[identity] for identity, table in found.items() if table is None]
    if missing:
        found |= _measure(design, base.backbone, missing)
    return replace(design, measured=tuple(table for table in found.values() if table is not None))


def known_tables(sweep: Sweep) -> dict[tuple[str, int], TaskTable]:
    """Task tables of a sweep's runs by (partition_id, split_seed), as far as they were measured.

    Nothing is measured for this: they come with the sweep or lie in the cache.
    """
    brought = {table.of: table for table in sweep.orders.measured}
    found: dict[tuple[str, int], TaskTable] = {}
    for run in (configuration.run for configuration in sweep.configurations):
        key = (partition_id(run), run.stream.split_seed)
        identity = table_id(sweep.base.backbone, run.stream)
        table = found.get(key) or brought.get(identity) or kept_table(identity)
        if table is not None:
            found[key] = table
    return found


def _measure(
    design: OrderDesign, backbone: BackboneConfig, streams: Sequence[StreamConfig]
) -> dict[str, TaskTable | None]:
    """The tables of all streams by their ids, and in the cache from now on."""
    runs = [
        RunConfig(backbone=backbone, stream=stream, method=LinearProbeConfig())
        for stream in streams
    ]
    done = subprocess.run(
        COMMAND,
        input=json.dumps([run_to_dict(run) for run in runs]),
        capture_output=True,
        text=True,
    )
    found = {
        identity: kept_table(identity) for identity in (table_id(backbone, s) for s in streams)
    }
    if done.returncode != 0 or None in found.values():
        lines = done.stderr.strip().splitlines()  # libraries may have warned before
        reason = lines[-1] if lines else "The process that measures them ended."
        constraint = "a design whose training images and backbone weights are here"
        raise InvalidConfigError([ConfigIssue("orders.design", design.design, constraint, reason)])
    return found
