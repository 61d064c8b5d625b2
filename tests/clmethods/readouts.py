"""Readouts of all kinds, and the counts of a trained run under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clmethods.config import (
    ReadoutConfig,
)
from clmethods.evaluate import EvalCount, evaluate_stage
from clmethods.methods import State
from tests.clmethods.runs import Trained

LAST = ReadoutConfig()


ORACLE = ReadoutConfig(routing="oracle")


INSTANCE = ReadoutConfig(routing="instance")


EUCLID = ReadoutConfig(routing="instance", metric="euclid")


CORR = ReadoutConfig(routing="instance", metric="corr", clusters=2)


SHARED = ReadoutConfig(routing="instance", metric="shared_cov", clusters=1)


BATCH = ReadoutConfig(routing="batch", metric="corr", clusters=2, batch_size=5)


TAP = ReadoutConfig(routing="instance", tap=True, tap_epochs=2, tap_clusters=2)


CHAIN = replace(TAP, routing="last", tap_restore=False, tap_storage="covariance", tap_clusters=10)


READOUTS = [LAST, INSTANCE, EUCLID, ORACLE, CORR, SHARED, BATCH, TAP, CHAIN]


def counted(
    trained: Trained,
    position: int,
    readouts: Sequence[ReadoutConfig],
    state: State | None = None,
) -> dict[str, list[EvalCount]]:
    found = trained.state(position) if state is None else state
    return evaluate_stage(trained.run, trained.chain, position, found, readouts)
