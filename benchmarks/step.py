"""CPU seconds of one training step of LoRAC-IPC over those of the bare frozen backbone.

The step is the loop's: forward, cross-entropy and Gram penalty, backward with the importance of
every matrix, clipping, fused Adam. What it is compared to is the least that any adapter method
needs: forward through the frozen network and backward to its activations, without any weight
gradient. The state of the earlier tasks is made up (random factors), as training it would take
hours and change no cost. Nothing is frozen, which is the most expensive case.

Only the last `ipc_window` steps of a task are sampled. The averages are those of a task of 1,000
steps with the default window, whose other steps use dense products (the default) or thin ones.

    python benchmarks/step.py [d192] [vit_base]
"""

from __future__ import annotations

import platform
import statistics
import sys
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
REPETITIONS = 7
TASK_STEPS = 1000

BACKBONES["vit_d192"] = BackboneFacts(
    native_size=32, patch_size=4, width=192, blocks=12, heads=3
)  # 64 + 1 tokens

RUNS = {
    name: RunConfig(
        backbone=BackboneConfig(name=backbone, weights="random", image_size=size),
        stream=StreamConfig(dataset="glyph100", tasks=10),
        method=LoracIpcConfig(rank=8, importance_threshold=0.0),  # all six sites of all blocks
        train=TrainConfig(lr=1e-4, batch_size=batch),
    )
    for name, backbone, size, batch in (
        ("d192", "vit_d192", 32, 16),
        ("vit_base", "vit_base_patch16_224", 224, 8),
    )
}


def made_up_state(run: RunConfig, backbone: FrozenBackbone, modules: int) -> State:
    """State after `modules` finished tasks, with random factors of the usual sizes."""
    assert isinstance(run.method, LoracIpcConfig)
    if modules == 0:
        return {}
    generator, rank = torch.Generator().manual_seed(0), run.method.rank
    matrices = adapted_matrices(run.method, backbone.facts.blocks)
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
    run: RunConfig,
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
    config = run.method if penalty else replace(run.method, ortho_mode="none")
    stage, state = stage_chain(run)[task - 1], made_up_state(run, backbone, task - 1)
    method = LoracIpc(replace(run, method=config), stage, backbone, state)
    for layer in composed_layers(method.network).values():
        layer.observer = None if thin else observer or layer.observer
    groups = [
        {"params": list(group.parameters), "lr": run.train.lr * group.lr_scale}
        for group in method.parameter_groups()
    ]
    optimizer = torch.optim.Adam(groups, fused=True)
    labels = torch.tensor([stage.classes[i % len(stage.classes)] for i in range(len(pixels))])

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


def repeated(steps: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """CPU seconds of each step, of interleaved repetitions after a warm-up.

    Interleaved, so that a machine that slows down meanwhile slows all of them down.
    """
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(REPETITIONS):
        for name, step in steps.items():
            start = time.process_time()
            step()
            seconds[name].append(time.process_time() - start)
    return seconds


def spread(values: list[float]) -> str:
    """Minimum, median and maximum."""
    return f"{min(values):.3f} / {statistics.median(values):.3f} / {max(values):.3f} s"


def measure(name: str, run: RunConfig) -> float:
    """Print the rows of a shape; return the ratio of the last task with default settings."""
    backbone = FrozenBackbone(run.backbone, torch.float32, "cpu")
    size, window = run.backbone.image_size, LoracIpcConfig().ipc_window
    pixels = torch.randn(run.train.batch_size, 3, size, size)
    print(f"{name}: batch {len(pixels)}, {size} px; minimum / median / maximum of {REPETITIONS}")
    ratio = float("nan")
    for task in TASKS:
        seconds = repeated(
            {
                "frozen": frozen_step(backbone, pixels),
                "sampled": training_step(run, backbone, task, pixels),
                "dense": training_step(run, backbone, task, pixels, observer=ignoring),
                "no penalty": training_step(run, backbone, task, pixels, penalty=False),
                "thin": training_step(run, backbone, task, pixels, thin=True),
            }
        )
        middle = {step: statistics.median(values) for step, values in seconds.items()}
        sampled, frozen, share = middle["sampled"], middle["frozen"], window / TASK_STEPS
        ratio, thin = (
            (share * sampled + (1 - share) * middle[other]) / frozen for other in ("dense", "thin")
        )
        print(f"  task {task}: penalty {sampled - middle['no penalty']:.3f} s")
        for step in ("frozen", "sampled", "dense", "thin"):
            print(f"    {step:<8} {spread(seconds[step])}   ratio {middle[step] / frozen:.2f}")
        print(f"    average over {TASK_STEPS} steps: {ratio:.2f} dense, {thin:.2f} thin")
    return ratio


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{platform.machine()}, torch {torch.__version__}, one thread, CPU seconds per step")
    ratio = float("nan")
    for name in sys.argv[1:] or RUNS:
        ratio = measure(name, RUNS[name])
    print(f"step_over_frozen_backbone_task{TASKS[-1]}: {ratio:.2f}")


if __name__ == "__main__":
    main()
