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

from clmethods.config.faults import Fault, InvalidConfigError
from clmethods.config.methods import LinearProbeConfig
from clmethods.config.run import RunConfig, run_to_dict
from clmethods.config.task_table import TaskTable, table_id
from clmethods.data.task_tables import kept_table
from sweeps.spec.orders import OrderDesign

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
    found: dict[str, TaskTable] = {}
    for run in runs:
        if run.method.ORDER_FREE:
            continue
        identity = table_id(base.backbone, run.stream)
        if identity not in found:
            table = brought.get(identity) or kept_table(identity)
            found[identity] = table or _measure(design, identity, base, run)
    return replace(design, measured=tuple(found.values()))


def _measure(design: OrderDesign, identity: str, base: RunConfig, run: RunConfig) -> TaskTable:
    wanted = RunConfig(backbone=base.backbone, stream=run.stream, method=LinearProbeConfig())
    done = subprocess.run(
        COMMAND,
        input=json.dumps(run_to_dict(wanted)),
        capture_output=True,
        text=True,
    )
    table = kept_table(identity) if done.returncode == 0 else None
    if table is None:
        reason = done.stderr.strip().splitlines()[-1:] or ["the process that measures them ended"]
        law = "a design whose training images and backbone weights are here"
        raise InvalidConfigError([Fault("orders.design", design.design, law, reason[0])])
    return table
