"""The contract of `effect`, for every method and every field, in both directions.

Stage keys say which stages two runs share. If a field acts where the keys do not say so, one run
is handed the weights of another; if it is said to act where it cannot, stages are trained twice.
So pairs of runs that differ in one field are trained: equal keys must mean equal bits, and where
the keys first differ, some bit must differ.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from clmethods.checkpoint import fold
from clmethods.config import METHOD_CONFIGS, ReadoutConfig, RunConfig, partition_id, stage_chain
from clmethods.evaluate import EvalCount, evaluate_stage
from clmethods.methods import METHODS, State
from clmethods.training.stage import StageOutcome, run_stage
from tests.clmethods.contract_pairs import BASES, field_paths, pairs, with_field
from tests.clmethods.contract_values import MACHINE, NOT_VARIED, OTHER
from tests.clmethods.runs import differences


@cache
def base_outcome(run: RunConfig, position: int) -> StageOutcome:
    return run_stage(run, stage_chain(run)[position], base_state(run, position - 1))


@cache
def base_state(run: RunConfig, position: int) -> State:
    """A state to start from, the same for both runs of a pair."""
    state = fold(base_outcome(run, earlier).delta for earlier in range(position + 1))
    for name, tensor in state.items():
        if name.startswith("trace.") and len(tensor) >= 2:
            state[name] = planted_trace(tensor)
    return state


def planted_trace(trace: torch.Tensor) -> torch.Tensor:
    """Evidence from which every average chooses other matrices.

    The last two samples decide: a matrix that was important at last but one (X), one that is at
    last (Y), one that decays just as its average does (Z). By the product of both averages the
    order is X Z Y in the runs of `BASES`; X Y Z without the second average; Z Y X with a first
    average that forgets at once.
    """
    planted = torch.zeros_like(trace)
    kinds = {"X": (115.0, 1.0), "Y": (1.0, 27.0), "Z": (100.0, 90.0)}
    for column in range(trace.shape[1]):
        planted[-2:, column] = torch.tensor(kinds["XYZYZZ"[column % 6]], dtype=trace.dtype)
    return planted


@cache
def base_counts(run: RunConfig, position: int) -> dict[str, list[EvalCount]]:
    return counts(run, position, base_state(run, position))


def counts(run: RunConfig, position: int, state: State) -> dict[str, list[EvalCount]]:
    readouts = [ReadoutConfig(routing=routing) for routing in run.method.ROUTINGS]  # type: ignore[arg-type]
    return evaluate_stage(run, stage_chain(run), position, state, readouts)


@pytest.mark.parametrize(("base", "path", "value"), list(pairs()))
def test_keys_diverge_where_the_bits_do(base: RunConfig, path: str, value: Any) -> None:
    other = with_field(base, path, value)
    ours, theirs = stage_chain(base), stage_chain(other)
    for position, (left, right) in enumerate(zip(ours, theirs, strict=False)):
        # Up to here both have the same state, bit for bit.
        state = base_state(base, position - 1)
        expected, found = base_outcome(base, position), run_stage(other, right, state)
        changed = differences(expected.delta, found.delta)
        if left.key != right.key:
            assert changed, f"{path} is said to act at position {position}, but changes no bit"
            return
        assert not changed, f"{path} changes {changed} at position {position}, unknown to the key"
        assert found.training == expected.training, path
        assert found.method == expected.method, path
        last = position == len(ours) - 1 and base in BASES.values()
        if last and partition_id(base) == partition_id(other):
            after = fold([state, found.delta])
            assert counts(other, position, after) == base_counts(base, position), path
    assert len(ours) == len(theirs), path


@pytest.mark.parametrize("kind", sorted(METHODS))
@pytest.mark.parametrize("path", sorted(MACHINE))
def test_what_depends_on_the_machine_is_in_every_key(kind: str, path: str) -> None:
    ours, theirs = BASES[kind], with_field(BASES[kind], path, MACHINE[path])
    for left, right in zip(stage_chain(ours), stage_chain(theirs), strict=True):
        assert left.key != right.key


def test_every_field_is_under_the_contract() -> None:
    """A new field needs an entry in OTHER, with a value that matters where the field acts."""
    covered = [*OTHER, *MACHINE, *NOT_VARIED]
    assert sorted(covered) == sorted(field_paths())


def test_every_method_is_under_the_contract() -> None:
    assert BASES.keys() == METHODS.keys() == METHOD_CONFIGS.keys()


def test_every_other_value_is_used() -> None:
    """A value that is the base's own, or a field that no base has, would test nothing."""
    used = {(parameters.values[1], parameters.values[2]) for parameters in pairs()}
    assert used >= {(path, value) for path, values in OTHER.items() for value in values}
