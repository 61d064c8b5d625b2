"""LoRAC-IPC's decision at the start of a task: which matrices freeze (docs/method.md 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from clmethods.config.methods import LoracIpcConfig
from clmethods.config.methods.freezing_forecast import last_epoch_samples
from clmethods.config.methods.lorac_effect import EVIDENCE_SELECTORS
from clmethods.config.run import RunConfig
from clmethods.data.extended import open_stream
from clmethods.errors import ConfigIssue, InvalidConfigError
from clmethods.methods.composition import Composition
from clmethods.nn.freezing import freeze_top
from clmethods.nn.importance import importance_scores


def frozen_before(
    run: RunConfig, composition: Composition, position: int, generator: torch.Generator
) -> Tensor:
    """(M,) flags in force while the task at `position` trains; `composition` reads its parent.

    The previous task left the evidence; the decision is taken here, so that all settings of the
    choice share the first stage. Masks only grow, by as many as the forecast says. `generator` is
    drawn from by the selector `random`.
    """
    total = len(composition.matrices)
    if position == 0:
        return torch.zeros(total, dtype=torch.bool)
    config = lorac_config(run)
    forecast = config.forecast(run.context)
    before = composition.state[f"frozen.{position - 1}"]
    newly = forecast[position] - forecast[position - 1]
    if newly == 0:
        return before.clone()
    if forecast[position] == total:  # nothing to choose
        return torch.ones_like(before)
    groups = {
        "global": None,
        "per_site": [matrix.site for matrix in composition.matrices],
        "per_block": [matrix.block for matrix in composition.matrices],
    }[config.ipc_scope]
    return freeze_top(
        selection_scores(run, composition, position, generator), before, newly, groups
    )


def selection_scores(
    run: RunConfig, composition: Composition, position: int, generator: torch.Generator
) -> Tensor:
    """(M,) on the CPU: the selector's preference, of which the largest freeze first."""
    config, matrices = lorac_config(run), composition.matrices
    if config.ipc_selector == "random":
        return torch.randperm(len(matrices), generator=generator).double()
    if config.ipc_selector == "first_blocks":
        return torch.tensor([-float(matrix.block) for matrix in matrices])
    if config.ipc_selector == "last_blocks":
        return torch.tensor([float(matrix.block) for matrix in matrices])
    if config.ipc_selector == "magnitude":
        deltas = composition.deltas(position - 1, matrices)
        return torch.stack([deltas[matrix].abs().mean() for matrix in matrices]).cpu()
    trace = composition.state[f"trace.{position - 1}"]
    if config.ipc_target == "factors":
        scores = trace[0].cpu()  # scored while the task trained
    else:
        last = last_epoch(run, position - 1) if config.ipc_stat == "epoch_mean" else None
        scores = importance_scores(
            trace, config.ipc_beta1, config.ipc_beta2, config.ipc_stat, last
        ).cpu()
    return -scores if config.ipc_selector == "inverse" else scores


def last_epoch(run: RunConfig, position: int) -> int:
    """How many samples of importance the last epoch of the task at `position` takes."""
    config, train = lorac_config(run), run.train
    return last_epoch_samples(
        task_images(run, position), train.batch_size, train.epochs, config.ipc_every
    )


def task_images(run: RunConfig, position: int) -> int:
    """Number of training images of the task at `position`."""
    stream = open_stream(run.stream, run.backbone.image_size)
    return len(stream.data_of(run.stream.sequence()[position], "train"))


def refuse_short_window(run: RunConfig, position: int) -> None:
    """Refuse a mean over an epoch that takes more samples than the window keeps.

    How many images a task has is known only with the data, so this is said when the task begins;
    it is the same at every task but for their sizes.
    """
    config = lorac_config(run)
    reads = config.ipc_stat == "epoch_mean" and config.ipc_target != "factors"
    chooses = config.forecast(run.context)[-1] > 0 and config.ipc_selector in EVIDENCE_SELECTORS
    if not (reads and chooses):
        return
    needed = last_epoch(run, position)
    if needed > config.ipc_window:
        allowed = f"at least {needed}, the samples of one epoch, with ipc_stat: epoch_mean"
        hint = "Raise ipc_window or ipc_every, or choose another ipc_stat."
        raise InvalidConfigError(
            [ConfigIssue("method.ipc_window", config.ipc_window, allowed, hint)]
        )


def lorac_config(run: RunConfig) -> LoracIpcConfig:
    """The method's configuration, which must be LoRAC-IPC's."""
    if not isinstance(run.method, LoracIpcConfig):
        raise TypeError(f"expected lorac_ipc, got {run.method.kind}")
    return run.method
