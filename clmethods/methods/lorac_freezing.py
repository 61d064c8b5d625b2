"""Selection of the matrices that LoRAC-IPC freezes before a task (docs/method.md section 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from clmethods.config.methods import LoracIpcConfig
from clmethods.config.methods.freezing_forecast import last_epoch_samples
from clmethods.config.methods.lorac_fields import EVIDENCE_SELECTORS
from clmethods.config.run import RunConfig
from clmethods.data.extended_stream import open_stream
from clmethods.errors import ConfigIssue, InvalidConfigError
from clmethods.methods.base import method_config
from clmethods.methods.composition import Composition
from clmethods.nn.freezing import freeze_top
from clmethods.nn.importance import importance_scores


def frozen_before(
    run: RunConfig, composition: Composition, position: int, generator: torch.Generator
) -> Tensor:
    """Return the flags (M,) in force while the task at `position` trains.

    `composition` reads the state of the parent. The previous task stored the importance trace; the
    decision is made at the start of the next task, so that runs that differ only in the selection
    share the first stage. Matrices are only added to the mask, as many as the forecast specifies.
    The selector `random` draws from `generator`.
    """
    total = len(composition.matrices)
    if position == 0:
        return torch.zeros(total, dtype=torch.bool)
    config = method_config(run, LoracIpcConfig)
    forecast = config.forecast(run.context)
    before = composition.state[f"frozen.{position - 1}"]
    newly = forecast[position] - forecast[position - 1]
    if newly == 0:
        return before.clone()
    if forecast[position] == total:  # no choice left
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
    """Return the selector's scores (M,) on the CPU; the matrices with the largest freeze first."""
    config, matrices = method_config(run, LoracIpcConfig), composition.matrices
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
    """Return the number of importance samples in the last epoch of the task at `position`."""
    config, train = method_config(run, LoracIpcConfig), run.train
    return last_epoch_samples(
        task_images(run, position), train.batch_size, train.epochs, config.ipc_every
    )


def task_images(run: RunConfig, position: int) -> int:
    """Return the number of training images of the task at `position`."""
    stream = open_stream(run.stream, run.backbone.image_size)
    return len(stream.data_of(run.stream.sequence()[position], "train"))


def refuse_short_window(run: RunConfig, position: int) -> None:
    """Raise `InvalidConfigError` if an epoch has more importance samples than the window keeps.

    The number of images of a task is known only with the data, so the check runs at the start of a
    task. Its result differs between tasks only if their sizes differ.
    """
    config = method_config(run, LoracIpcConfig)
    if config.ipc_stat != "epoch_mean" or config.ipc_target == "factors":
        return
    if config.forecast(run.context)[-1] == 0 or config.ipc_selector not in EVIDENCE_SELECTORS:
        return
    needed = last_epoch(run, position)
    if needed > config.ipc_window:
        allowed = f"at least {needed}, the samples of one epoch, with ipc_stat: epoch_mean"
        hint = "Raise ipc_window or ipc_every, or choose another ipc_stat."
        raise InvalidConfigError(
            [ConfigIssue("method.ipc_window", config.ipc_window, allowed, hint)]
        )
