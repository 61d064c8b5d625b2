"""Verification: train stored stages again and compare the bits."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, final

from clmethods.config import evaluation_id, partition_id
from clmethods.provenance import host_kind
from sweeps.definition import TrialSpec
from sweeps.planning.plan import Plan
from sweeps.stages.stage_store import StageStore

if TYPE_CHECKING:
    from clmethods.methods import State

Outcome = Literal["equal", "differs", "other host", "damaged"]


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of training one stage again."""

    outcome: Outcome
    detail: str = ""
    """Tensors and readouts that differ, or the reason why nothing was compared."""


def sample_stages(plan: Plan, count: int, seed: int = 0) -> list[tuple[TrialSpec, int]]:
    """Return (trial, position) of `count` stored stages, drawn without replacement."""
    where: dict[str, tuple[TrialSpec, int]] = {}
    for trial in plan.trials:
        for position, key in enumerate(plan.tree.chains[trial.trial_id]):
            if key in plan.stored:
                where.setdefault(key, (trial, position))
    keys = sorted(where)
    return [where[key] for key in random.Random(seed).sample(keys, min(count, len(keys)))]


def verify_stage(store: StageStore, trial: TrialSpec, position: int) -> Verdict:
    """Train a stored stage again from its parent's state, evaluate it, and compare.

    Bits are compared only on the kind of machine that computed the stage first.
    """
    from clmethods.checkpoint import fold
    from clmethods.evaluate import evaluate_stage
    from clmethods.training.stage import run_stage

    chain = trial.chain
    stage = chain[position]
    record = store.record(stage.key)
    loaded = [store.load_delta(ancestor.key) for ancestor in chain[: position + 1]]
    deltas = [delta for delta in loaded if delta is not None]
    if record is None or len(deltas) < len(loaded):
        return Verdict("damaged", "moved aside; the next run computes it again")
    if record.cost.get("host_kind") != host_kind():
        return Verdict("other host", f"computed on {record.cost.get('host_kind')}")
    before = fold(deltas[:-1])
    again = run_stage(trial.run, stage, before).delta
    differs = _different(deltas[-1], again)
    counts = evaluate_stage(
        trial.run,
        chain,
        position,
        before | again,
        trial.readouts,
        states=lambda earlier: fold(deltas[: earlier + 1]),
    )
    for readout in trial.readouts:
        kept = store.evaluation(stage.key, evaluation_id(readout, partition_id(trial.run)))
        if kept is not None and kept != [asdict(row) for row in counts[readout.readout_id]]:
            differs.append(f"counts of readout {readout.readout_id}")
    return Verdict("differs", ", ".join(differs)) if differs else Verdict("equal")


def _different(stored: State, again: State) -> list[str]:
    import torch

    return sorted(set(stored) ^ set(again)) + [
        name
        for name in sorted(set(stored) & set(again))
        if not torch.equal(stored[name], again[name].cpu())
    ]
