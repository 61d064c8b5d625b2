"""Resources of Ray that a trial reserves, and how many trials a cluster can run at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import final

from clmethods.config import Fault, InvalidConfigError
from sweeps.spec import TrialSpec
from sweeps.spec.sweep import Resources

Demand = dict[str, float]
"""Amounts by kind: `CPU`, `GPU`."""

LOOKAHEAD = 1.0
"""Released trials that wait for resources, per trial that has them. Tune hands a worker on to a
waiting trial only, so without one every trial would start a new process; and a trial that asks in
vain is what makes an autoscaler add a node."""

FROM_ZERO = 8
"""Released trials while no node can run one: only an autoscaler can add such a node, and it adds
as many at once as trials ask for. With one trial, every node would wait for the one before it."""


def demand_of(trial: TrialSpec, resources: Resources) -> Demand:
    """Return what Ray reserves for a trial."""
    demand = {"CPU": float(trial.run.train.threads)}
    if resources.gpu:
        demand["GPU"] = resources.gpu
    return demand


def distinct(demands: Iterable[Demand]) -> list[Demand]:
    """Return each demand once, in the order of first occurrence."""
    found: list[Demand] = []
    for demand in demands:
        if demand not in found:
            found.append(demand)
    return found


def cpus_for(trials: Sequence[TrialSpec], resources: Resources) -> int | None:
    """Return the CPUs that `max_concurrent` trials need; None without such a limit."""
    most = resources.max_concurrent
    return None if most is None else most * max(t.run.train.threads for t in trials)


def fitting(demands: Sequence[Demand], resources: Mapping[str, float]) -> int:
    """Return how many trials run at once on these resources: of the demand that fits best."""
    return max(
        min(int(resources.get(kind, 0.0) // amount) for kind, amount in demand.items())
        for demand in demands
    )


@final
class Slots:
    """How many trials may be released: those that run and those that wait for a worker."""

    def __init__(self, resources: Resources, limited_cluster: bool) -> None:
        """`limited_cluster`: whether the cluster was started with no more CPUs than
        `max_concurrent` equal trials need; otherwise such a limit leaves no waiting trials.
        """
        self._most = resources.max_concurrent
        self._limited_cluster = limited_cluster

    def count(self, demands: Sequence[Demand], cluster: Mapping[str, float]) -> int:
        """Return the number for trials with these demands, in a cluster of that size."""
        fits = fitting(demands, cluster)
        if fits == 0:
            return FROM_ZERO if self._most is None else min(FROM_ZERO, self._most)
        waiting = max(1, round(LOOKAHEAD * fits))
        limited = self._limited_cluster and len(demands) == 1
        return fits + waiting if self._most is None or limited else min(fits, self._most)


def impossible_demands(
    demands: Sequence[Demand],
    present: Mapping[str, float],
    most: Mapping[str, float] | None,
    local: bool,
) -> list[str]:
    """Refuse demands that can never be met; return sentences about those that may be met later.

    `present`: what the cluster has; `most`: what its autoscaler's configuration allows, None if
    that is not known. Nodes that no configuration names may still join such a cluster.
    """
    whole = "this machine" if local else "this cluster, as large as it may grow"
    sentences = []
    for demand in demands:
        for kind, amount in demand.items():
            known = max(present.get(kind, 0.0), float((most or {}).get(kind, 0.0)))
            if known >= amount:
                continue
            if local or most is not None:
                field = "train.threads" if kind == "CPU" else "resources.gpu"
                allowed = f"at most the {known:g} {kind} of {whole}"
                raise InvalidConfigError([Fault(field, amount, allowed)])
            sentences.append(
                f"a trial asks for {amount:g} {kind}, and the cluster has {known:g}: it waits "
                "until a node with that many joins"
            )
    return sentences
