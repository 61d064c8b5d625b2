"""Shared parts of the LoRA methods: initial factors, the head, predictors, report rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.config.methods import LoraFields
from clmethods.config.methods.fields import AInit
from clmethods.config.run import RunConfig
from clmethods.methods.base import MatrixReport, Method, Predictor, State
from clmethods.nn.adapted_networks import Matrix, merged_weights
from clmethods.nn.backbone import FrozenBackbone
from clmethods.nn.head import TaskHead, initial_head
from clmethods.nn.lora import Adapter, initial_a


def lora_fields(run: RunConfig) -> LoraFields:
    """Return the method's configuration. Raises `TypeError` if it is not that of a LoRA method."""
    if not isinstance(run.method, LoraFields):
        raise TypeError(f"{run.method.kind} has no LoRA modules")
    return run.method


def fresh_factors(
    method: Method,
    matrix: Matrix,
    rank: int,
    *,
    earlier: Tensor | None = None,
    a_init: AInit | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the initial A (r, a) and a zero B (b, r) of a new module of `matrix`.

    Every matrix has its own random generator. `complement` draws A orthogonal to `earlier` (K*r,
    a); a method that passes it must also pass the position to `LoraFields.lora_effect`. `a_init`
    overrides the rule of the configuration.
    """
    config, backbone = lora_fields(method.run), method.backbone
    fan_in, fan_out = backbone.facts.fan(matrix.site)
    generator = method.generator("adapter", matrix.block, matrix.site)
    a = initial_a(rank, fan_in, a_init or config.a_init, generator, earlier)
    return (
        a.to(device=backbone.device, dtype=backbone.dtype),
        torch.zeros(fan_out, rank, device=backbone.device, dtype=backbone.dtype),
    )


def task_head(
    method: Method,
    classes: tuple[int, ...] | None = None,
    among: tuple[int, ...] | None = None,
) -> TaskHead:
    """Return the head at the start of a task: the parent's, or a new one for the first task.

    It trains the rows of `classes`, by default those of the task, with a cross-entropy over all of
    them or over those in `among`. Classes that were added after the parent was trained have no row
    in its head; their rows are drawn now, with the values that they would have had from the start.
    """
    backbone, state = method.backbone, method.state
    total, trained = method.run.stream.facts.classes, classes or method.stage.classes
    known = len(state["head.weight"]) if "head.weight" in state else 0
    rows = [(state["head.weight"], state["head.bias"])] if known else []
    if known < total:
        weight, bias = initial_head(total, backbone.facts.width, method.run.seed)
        rows.append((weight[known:], bias[known:]))
    weights, biases = (
        [part.to(device=backbone.device, dtype=backbone.dtype) for part in parts]
        for parts in zip(*rows, strict=True)
    )
    return TaskHead(
        torch.cat(weights),
        torch.cat(biases),
        trained,
        among,
    )


def head_delta(head: TaskHead) -> State:
    """Return the head as part of a stage's delta."""
    weight, bias = head.merged()
    return {"head.weight": weight, "head.bias": bias}


def merged_predictor(
    backbone: FrozenBackbone, deltas: Mapping[Matrix, Tensor], state: State
) -> Predictor:
    """Return a predictor with the updates (b, a) merged into the weights and the state's head."""
    network = backbone.build(merged_weights(backbone, deltas))
    weight, bias = state["head.weight"], state["head.bias"]
    return Predictor(backbone, network, lambda features: F.linear(features, weight, bias))


def seen_classes(method: Method) -> tuple[int, ...]:
    """Return the original ids of the classes of this task and all earlier ones, ascending."""
    groups = method.run.stream.sequence()[: method.stage.position + 1]
    return tuple(sorted({label for group in groups for label in group.classes}))


def adapter_reports(
    adapters: Mapping[Matrix, Adapter], weights: Sequence[float] = (1.0,)
) -> list[MatrixReport]:
    """Return rows of the table `matrices` for methods that neither score nor freeze matrices.

    `weights` are the weights of the modules, equal for all matrices.
    """
    return [
        MatrixReport(
            block=matrix.block,
            site=matrix.site,
            importance=None,
            frozen=False,
            omega=list(weights),
            delta_norm=float(adapter.update().norm()),
            change_since=[],
        )
        for matrix, adapter in adapters.items()
    ]


def count(method: Method) -> int:
    """Return the number of trainable scalars."""
    return sum(parameter.numel() for parameter in method.parameters())
