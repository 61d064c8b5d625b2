"""Small real runs for the tests: a tiny random backbone, the digits, a few images per class."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any
from unittest import mock

from torch import Tensor

from clmethods.checkpoint import fold, state_from_bytes, state_to_bytes
from clmethods.checksummed_json import sha256
from clmethods.config import (
    METHOD_CONFIGS,
    BackboneConfig,
    LoracIpcConfig,
    MethodConfig,
    RunConfig,
    StageSpec,
    StreamConfig,
    TrainConfig,
    resolve,
    stage_chain,
)
from clmethods.data.streams import Split, TaskData
from clmethods.determinism import open_run
from clmethods.methods import METHODS, Method, Predictor, State
from clmethods.methods.base import method_config
from clmethods.methods.composition import Composition
from clmethods.nn.adapted_networks import adapted_matrices
from clmethods.nn.backbone import FrozenBackbone
from clmethods.training.stage import StageOutcome, run_stage

METHODS_AS_THEY_ARE = dict(METHODS)
TINY = BackboneConfig(name="tiny_vit8", weights="random", image_size=8)
STREAM = StreamConfig(tasks=3, limit=4)
LORAC = LoracIpcConfig(rank=2, importance_threshold=0.2)  # k = 2 of 12 matrices


def tiny_run(
    method: MethodConfig = LORAC, stream: StreamConfig = STREAM, seed: int = 0, **train: Any
) -> RunConfig:
    """A run that takes seconds, in double precision unless `train` sets another one."""
    small: dict[str, Any] = {"epochs": 2, "batch_size": 8, "precision": "float64"}
    return RunConfig(
        backbone=TINY, stream=stream, method=method, train=TrainConfig(**small | train), seed=seed
    )


def small_method(kind: str, **changes: Any) -> MethodConfig:
    """A method of rank 2 that freezes 2 of 12 matrices a task, as far as it has such fields."""
    small = {"rank": 2, "importance_threshold": 0.2, "projection": 24, "align_samples": 8}
    small |= changes
    config = METHOD_CONFIGS[kind]
    known = {f.name for f in fields(config)}
    return config(**{name: value for name, value in small.items() if name in known})


@dataclass(frozen=True)
class Trained:
    """A run and what each of its stages left behind."""

    run: RunConfig
    chain: tuple[StageSpec, ...]
    outcomes: tuple[StageOutcome, ...]

    @property
    def deltas(self) -> list[State]:
        return [outcome.delta for outcome in self.outcomes]

    @property
    def last(self) -> int:
        return len(self.outcomes) - 1

    @property
    def backbone(self) -> FrozenBackbone:
        return open_run(self.run)[0]

    def state(self, position: int) -> State:
        """The state after the task at `position`; empty before the first one."""
        return fold(self.deltas[: position + 1])

    def method(self, position: int, state: State | None = None) -> Method:
        """The method as it stands before the first step of the task at `position`."""
        parent = self.state(position - 1) if state is None else state
        kind, stage = self.run.method.kind, self.chain[position]
        method = METHODS[kind](self.run, stage, self.backbone, parent)
        method.begin_task(self.data(position))
        return method

    def predictor(self, position: int, snapshot: int, state: State | None = None) -> Predictor:
        """Snapshot `snapshot` read from the state after the task at `position`."""
        found = self.state(position) if state is None else state
        return METHODS[self.run.method.kind].predictor(
            self.run, self.backbone, found, position, snapshot
        )

    def composition(self, state: State | None = None) -> Composition:
        config = method_config(self.run, LoracIpcConfig)
        matrices = adapted_matrices(config, self.backbone.facts.blocks)
        return Composition(config, matrices, self.state(self.last) if state is None else state)

    def data(self, *positions: int, split: Split = "train") -> TaskData:
        """Images and labels of the tasks at `positions`, of all tasks if none is named."""
        chosen = positions or range(len(self.chain))
        classes = sorted(c for position in chosen for c in self.chain[position].classes)
        return open_run(self.run)[1].data(tuple(classes), split)

    def repeat(self, position: int, parent: State | None = None) -> tuple[Method, StageOutcome]:
        """Train one stage again, and keep the method as its training left it."""
        state = self.state(position - 1) if parent is None else parent
        kind, kept = self.run.method.kind, []

        def build(*arguments: Any) -> Method:
            kept.append(METHODS_AS_THEY_ARE[kind](*arguments))
            return kept[-1]

        with mock.patch.dict(METHODS, {kind: build}):
            outcome = run_stage(self.run, self.chain[position], state)
        return kept[0], outcome


def train(run: RunConfig, until: int | None = None) -> Trained:
    """Run the chain, or its stages up to and including the one at `until`."""
    run = resolve(run)
    chain = stage_chain(run)
    outcomes: list[StageOutcome] = []
    for stage in chain if until is None else chain[: until + 1]:
        state = fold(outcome.delta for outcome in outcomes)
        outcomes.append(run_stage(run, stage, state))
    return Trained(run, chain, tuple(outcomes))


@dataclass
class MemoryArchive:
    """Finished stages, as the bytes that a store would hold."""

    stages: dict[str, bytes] = field(default_factory=dict)
    outcomes: dict[str, StageOutcome] = field(default_factory=dict)

    def load_delta(self, key: str) -> State | None:
        return state_from_bytes(self.stages[key]) if key in self.stages else None

    def save(self, stage: StageSpec, outcome: StageOutcome, cost: dict[str, object]) -> None:
        self.stages[stage.key] = state_to_bytes(outcome.delta)
        self.outcomes[stage.key] = outcome

    def digest(self, key: str) -> str:
        return sha256(self.stages[key])


def same_bits(left: Tensor, right: Tensor) -> bool:
    """Stricter than `torch.equal`: signs of zeros, NaN and types count too."""
    return (left.dtype, left.shape) == (right.dtype, right.shape) and bits(left) == bits(right)


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()


def differences(left: State, right: State) -> list[str]:
    """Names that only one state has, or whose bits differ."""
    return sorted(
        name
        for name in left.keys() | right.keys()
        if name not in left or name not in right or not same_bits(left[name], right[name])
    )


def copied(state: State) -> State:
    return {name: tensor.clone() for name, tensor in state.items()}
