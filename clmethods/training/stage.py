"""`run_stage`: the training loop. It trains one task, from the parent's state to a delta."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import final

import torch

from clmethods.config.compiler_check import missing_compiler
from clmethods.config.keys import StageSpec
from clmethods.config.run import RunConfig
from clmethods.config.train import TrainConfig
from clmethods.determinism import on_device, open_run, prepare_process
from clmethods.errors import refuse
from clmethods.methods import METHODS, Method, MethodReport, ParamGroup, State
from clmethods.methods.base import DivergedError as DivergedError
from clmethods.nn.precision import tf32_products
from clmethods.training.batches import TaskBatches
from clmethods.training.compiled import compiled_blocks
from clmethods.training.epoch_log import EpochLog


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """Figures of a stage's training, averaged over the last epoch."""

    steps: int = 0
    cross_entropy: float | None = None
    orthogonality: float | None = None
    grad_norm: float | None = None
    """Global L2 norm before clipping."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StageOutcome:
    """Result of a stage. `delta` and both reports depend only on the stage key."""

    delta: State
    training: TrainingReport
    method: MethodReport


def run_stage(
    run: RunConfig,
    stage: StageSpec,
    state: State,
    on_epoch: Callable[[int], None] = lambda done: None,
) -> StageOutcome:
    """Train the task of `stage` on top of `state`, the folded state of its parent.

    `on_epoch` is called after every epoch with the number of finished epochs.

    Raises `DivergedError` if a loss term is not finite, and `InvalidConfigError` if the network
    shall be compiled and there is no compiler.
    """
    refuse([missing_compiler(run.train)])
    prepare_process(run.train)
    state = on_device(state, run.train.device)
    backbone, stream = open_run(run)
    method = METHODS[run.method.kind](run, stage, backbone, state)
    data = stream.data_of_all(stage.groups, "train")
    method.begin_task(data)
    training_data = data
    if run.train.augment != "none":  # crops are cut from the whole image
        training_data = stream.data_of_all(stage.groups, "train", margin=True)
    trains = run.method.trains_at(stage.position, run.context)
    training = TrainingReport()
    if trains:
        generators = method.generator("shuffle"), method.generator("augment")
        network = compiled_blocks(method.network) if run.train.compile else nullcontext()
        with network, TaskBatches(training_data, backbone, run.train, *generators) as batches:
            training = _train(method, batches, on_epoch)
    with torch.no_grad():
        delta = {name: tensor.contiguous() for name, tensor in method.end_task(data).items()}
        report = method.report(state | delta)
    return StageOutcome(delta=delta, training=training, method=report)


def learning_rate(train: TrainConfig, position: int, epoch: int) -> float:
    """Return the rate of an epoch (from 0): cosine from lr to lr_min (docs/method.md section 2.6).

    `cosine_ref` lags one epoch, as in the public code: epochs 0 and 1 both use the full rate.
    """
    rate = train.lr_at(position)
    if train.schedule == "constant":
        return rate
    done = max(epoch - 1, 0) if train.schedule == "cosine_ref" else epoch
    return train.lr_min + 0.5 * (rate - train.lr_min) * (
        1.0 + math.cos(math.pi * done / train.epochs)
    )


def _train(
    method: Method, batches: TaskBatches, on_epoch: Callable[[int], None]
) -> TrainingReport:
    train, position = method.run.train, method.stage.position
    groups = method.parameter_groups()
    parameters = [parameter for group in groups for parameter in group.parameters]
    optimizer = _optimizer(groups, train, train.lr_at(position))
    steps, means = 0, dict[str, float]()
    for epoch in range(train.epochs):
        rate = learning_rate(train, position, epoch)
        for group, settings in zip(groups, optimizer.param_groups, strict=True):
            settings["lr"] = rate * group.lr_scale
        log = EpochLog(method.stage, epoch, steps)
        try:
            for batch in batches.epoch():
                optimizer.zero_grad(set_to_none=True)
                terms = method.loss(batch.pixels, batch.labels)
                with tf32_products(train.tf32_acts):
                    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
                method.after_backward()
                norm = torch.nn.utils.clip_grad_norm_(parameters, train.grad_clip or math.inf)
                optimizer.step()
                method.after_step()
                log.add({**terms, "grad_norm": norm}, len(batch.labels))
                steps += 1
        except RuntimeError:
            log.read()  # a step fails if earlier ones left weights that are not finite
            raise
        means = log.read()
        on_epoch(epoch + 1)
    return TrainingReport(
        steps=steps,
        cross_entropy=means.get("cross_entropy"),
        orthogonality=means.get("orthogonality"),
        grad_norm=means.get("grad_norm"),
    )


def _optimizer(
    groups: Sequence[ParamGroup], train: TrainConfig, rate: float
) -> torch.optim.Optimizer:
    trained, decay = [{"params": list(group.parameters)} for group in groups], train.weight_decay
    if train.optimizer == "sgd":
        return torch.optim.SGD(trained, lr=rate, momentum=0.9, weight_decay=decay)
    kind = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.Adam
    return kind(trained, lr=rate, weight_decay=decay, fused=True)
