"""CPU seconds of one training step of LoRAC-IPC over those of the bare frozen backbone.

The step is the loop's: forward, cross-entropy and Gram penalty, backward with the importance of
every matrix, clipping, fused Adam. What it is compared to is the least that any adapter method
needs: forward through the frozen network and backward to its activations, without any weight
gradient. The state of the earlier tasks is made up (random factors), as training it would take
hours and change no cost. Nothing is frozen, which is the most expensive case.

    python benchmarks/step.py
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from clmethods.catalog.facts import BACKBONES, BackboneFacts
from clmethods.config import (
    BackboneConfig,
    LoracIpcConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
    stage_chain,
)
from clmethods.methods import State
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.nn.adapted_networks import adapted_matrices, composed_layers
from clmethods.nn.backbone import FrozenBackbone, features
from clmethods.nn.lora import Observer, initial_a

TASKS = (1, 5, 10)
BATCH = 16
REPETITIONS = 9

BACKBONES["vit_d192"] = BackboneFacts(
    native_size=32, patch_size=4, width=192, blocks=12, heads=3
)  # 64 + 1 tokens

RUN = RunConfig(
    backbone=BackboneConfig(name="vit_d192", weights="random", image_size=32),
    stream=StreamConfig(dataset="glyph100", tasks=10),
    method=LoracIpcConfig(rank=8, importance_threshold=0.0),  # all six sites of all blocks
    train=TrainConfig(lr=1e-4),
)


def made_up_state(backbone: FrozenBackbone, modules: int) -> State:
    """State after `modules` finished tasks, with random factors of the usual sizes."""
    assert isinstance(RUN.method, LoracIpcConfig)
    if modules == 0:
        return {}
    generator, rank = torch.Generator().manual_seed(0), RUN.method.rank
    matrices = adapted_matrices(RUN.method, backbone.facts.blocks)
    state = {
        "head.weight": 0.02 * torch.randn(100, backbone.width, generator=generator),
        "head.bias": torch.zeros(100),
        f"omega.{modules - 1}": torch.ones(len(matrices), modules),
        f"frozen.{modules - 1}": torch.zeros(len(matrices), dtype=torch.bool),
    }
    for position in range(modules):
        for matrix in matrices:
            fan_in, fan_out = backbone.facts.fan(matrix.site)
            a = initial_a(rank, fan_in, "kaiming_fan_in", generator).float()
            state[f"lora.{position}.{matrix}.A"] = a
            state[f"lora.{position}.{matrix}.B"] = 0.01 * torch.randn(
                fan_out, rank, generator=generator
            )
    return state


def training_step(
    backbone: FrozenBackbone,
    task: int,
    pixels: Tensor,
    *,
    observer: Observer | None = None,
    thin: bool = False,
    penalty: bool = True,
) -> Callable[[], None]:
    """One step of the training loop of `clmethods.training.stage`, with optional operations.

    `observer` takes the place of the importance trace; `thin` does without any observer, by which
    the layers use thin products and form no dense gradient.
    """
    config = RUN.method if penalty else replace(RUN.method, ortho_mode="none")
    stage = stage_chain(RUN)[task - 1]
    method = LoracIpc(
        replace(RUN, method=config), stage, backbone, made_up_state(backbone, task - 1)
    )
    for layer in composed_layers(method.network).values():
        layer.observer = None if thin else observer or layer.observer
    groups = [
        {"params": list(group.parameters), "lr": RUN.train.lr * group.lr_scale}
        for group in method.parameter_groups()
    ]
    optimizer = torch.optim.Adam(groups, fused=True)
    labels = torch.tensor([stage.classes[i % len(stage.classes)] for i in range(BATCH)])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        terms = method.loss(pixels, labels)
        torch.stack(list(terms.values())).sum().backward()
        method.after_backward()
        torch.nn.utils.clip_grad_norm_(list(method.parameters()), 1.0)
        optimizer.step()

    return step


def ignoring() -> Callable[[Tensor, Tensor], None]:
    """An observer that has the dense gradients formed, and then ignores them."""
    return lambda weight, gradient: None


def frozen_step(backbone: FrozenBackbone, pixels: Tensor) -> Callable[[], None]:
    """Forward and backward through all layers of the network, to the pixels."""
    network, inputs = backbone.build(), pixels.clone().requires_grad_()

    def step() -> None:
        inputs.grad = None
        found = features(network, inputs)
        found.backward(torch.ones_like(found))

    return step


def medians(steps: dict[str, Callable[[], None]]) -> dict[str, float]:
    """CPU seconds of each step, medians of interleaved repetitions after a warm-up.

    Interleaved, so that a machine that slows down meanwhile slows all of them down.
    """
    for step in steps.values():
        step()
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(REPETITIONS):
        for name, step in steps.items():
            start = time.process_time()
            step()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = FrozenBackbone(RUN.backbone, torch.float32, "cpu")
    pixels = torch.randn(BATCH, 3, 32, 32)
    print(f"{platform.machine()}, torch {torch.__version__}, one thread, CPU seconds per step")
    print("task  frozen backbone      step   ratio   importance   penalty    unobserved step")
    ratio = float("nan")
    for task in TASKS:
        found = medians(
            {
                "frozen": frozen_step(backbone, pixels),
                "step": training_step(backbone, task, pixels),
                "ignored": training_step(backbone, task, pixels, observer=ignoring),
                "no penalty": training_step(backbone, task, pixels, penalty=False),
                "thin": training_step(backbone, task, pixels, thin=True),
            }
        )
        frozen, step = found["frozen"], found["step"]
        ratio = step / frozen
        importance, penalty = step - found["ignored"], step - found["no penalty"]
        print(
            f"{task:>4}  {frozen:>13.3f} s  {step:>6.3f} s  {ratio:>6.2f}"
            f"   {importance:>8.3f} s  {penalty:>6.3f} s  {found['thin']:>15.3f} s"
        )
    print(f"step_over_frozen_backbone_task{TASKS[-1]}: {ratio:.2f}")


if __name__ == "__main__":
    main()
