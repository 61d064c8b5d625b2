"""Task tables for order designs derived from the data: from the cache or measured.

Loading a sweep file measures nothing; `measured_sweep` is a separate step before planning. The
measurement needs torch, which planning does not import. `clmethods.task_features` therefore runs
once in a separate process and stores the table in the cache.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

from clmethods.canonical import plain
from clmethods.config.backbone import BackboneConfig
from clmethods.config.keys import partition_id
from clmethods.config.methods import LinearProbeConfig
from clmethods.config.run import RunConfig, run_to_dict
from clmethods.config.stream import StreamConfig
from clmethods.config.task_table import TaskTable, table_id
from clmethods.data.task_tables import kept_table
from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.definition.orders import OrderDesign
from sweeps.definition.sweep import Sweep

COMMAND = (sys.executable, "-m", "clmethods.task_features")
"""Command that measures task tables."""


def measured_sweep(sweep: Sweep) -> Sweep:
    """Return the sweep with all task tables that its orders need, as planning requires.

    Missing tables are read from the cache, or else measured now. Tables that the sweep already
    contains are used unchanged: results can be read where the data is not available. A sweep whose
    orders do not depend on the data is returned unchanged.

    Raises:
        InvalidConfigError: If data or weights are missing.
    """
    if not sweep.unmeasured:
        return sweep
    backbone = sweep.base.backbone
    given_tables = {table.of: table for table in sweep.orders.measured}
    streams = {table_id(backbone, stream): stream for stream in sweep.table_streams}
    tables = {identity: given_tables.get(identity) or kept_table(identity) for identity in streams}
    missing = [streams[identity] for identity, table in tables.items() if table is None]
    if missing:
        tables |= _measure(sweep.orders, backbone, missing)
    measured = tuple(table for table in tables.values() if table is not None)
    section = {**sweep.document["orders"], "measured": plain(measured)}
    return replace(
        sweep,
        orders=replace(sweep.orders, measured=measured),
        document={**sweep.document, "orders": section},
    )


def known_tables(sweep: Sweep) -> dict[tuple[str, int], TaskTable]:
    """Return the available task tables of the runs by (partition_id, split_seed).

    Nothing is measured: the tables come from the sweep or from the cache.
    """
    given_tables = {table.of: table for table in sweep.orders.measured}
    tables: dict[tuple[str, int], TaskTable] = {}
    for run in sweep.runs:
        key = (partition_id(run), run.stream.split_seed)
        identity = table_id(sweep.base.backbone, run.stream)
        table = tables.get(key) or given_tables.get(identity) or kept_table(identity)
        if table is not None:
            tables[key] = table
    return tables


def _measure(
    design: OrderDesign, backbone: BackboneConfig, streams: Sequence[StreamConfig]
) -> dict[str, TaskTable | None]:
    """Measure the tables of all streams, store them in the cache, and return them by id."""
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
    tables = {
        identity: kept_table(identity) for identity in (table_id(backbone, s) for s in streams)
    }
    if done.returncode != 0 or None in tables.values():
        lines = done.stderr.strip().splitlines()  # earlier lines can be warnings of libraries
        reason = lines[-1] if lines else "The process that measures the tasks failed."
        constraint = "a design whose training images and backbone weights are available"
        raise InvalidConfigError([ConfigIssue("orders.design", design.design, constraint, reason)])
    return tables
