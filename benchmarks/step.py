"""CPU seconds of one training step of LoRAC-IPC over those of the bare frozen backbone.

The step is the loop's: forward, cross-entropy and Gram penalty, backward with the importance of
every matrix, clipping, fused Adam. What it is compared to is the least that any adapter method
needs: forward through the frozen network and backward to its activations, without any weight
gradient. The state of the earlier tasks is made up (random factors), as training it would take
hours and change no cost. Nothing is frozen, which is the most expensive case.

Only the last `ipc_window` steps of a task are sampled, the others may use any products
(`ipc_unobserved`). The averages are those of a task of 1,000 steps: with the default window, and
with the smallest one that the default decays allow. With `--compile`, steps with `auto` are also
measured with `train.compile`; compilation takes a minute or more per shape and task.

The third shape is one layer of ViT-B, from 768 to 3072, with its modules.

    python benchmarks/step.py [d192] [layer] [vit_base] [--compile]
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from math import ceil, log

import torch
from products import layer_steps
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
from clmethods.config.methods.lorac_ipc import WINDOW_TOLERANCE
from clmethods.determinism import on_device, prepare_process
from clmethods.methods import State
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.nn.adapted_networks import adapted_matrices, composed_layers
from clmethods.nn.backbone import FrozenBackbone, features
from clmethods.nn.lora import Observer, initial_a
from clmethods.nn.precision import tf32_products
from clmethods.nn.products.product_forms import LayerShape, fastest_form
from clmethods.training.compiled import compiled_blocks

TASKS = (1, 5, 10)
REPETITIONS = 5
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
    unobserved: str = "",
    compiled: ExitStack | None = None,
    penalty: bool = True,
) -> Callable[[], None]:
    """One step of the training loop of `clmethods.training.stage`, with optional operations.

    `observer` takes the place of the importance trace. With `unobserved`, a value of
    `ipc_unobserved` other than `dense`, no layer has an observer. With `compiled`, the network is
    compiled until this context ends.
    """
    config = run.method if penalty else replace(run.method, ortho_mode="none")
    stage = stage_chain(run)[task - 1]
    state = on_device(made_up_state(run, backbone, task - 1), backbone.device)
    method = LoracIpc(replace(run, method=config), stage, backbone, state)
    for layer in composed_layers(method.network).values():
        layer.observer = None if unobserved else observer or layer.observer
        layer.form_of = fastest_form if unobserved == "auto" else None
    groups = [
        {"params": list(group.parameters), "lr": run.train.lr * group.lr_scale}
        for group in method.parameter_groups()
    ]
    optimizer = torch.optim.Adam(groups, fused=True)
    labels = torch.tensor([stage.classes[i % len(stage.classes)] for i in range(len(pixels))])
    labels = labels.to(backbone.device)

    if compiled is not None:
        compiled.enter_context(compiled_blocks(method.network))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        terms = method.loss(pixels, labels)
        with tf32_products(run.train.tf32_acts):
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


def repeated(steps: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
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


def measure(name: str, run: RunConfig, compiles: bool) -> float:
    """Print the rows of a shape; return the ratio of the last task with `auto`."""
    backbone = FrozenBackbone(run.backbone, torch.float32, "cpu")
    size = run.backbone.image_size
    pixels = torch.randn(run.train.batch_size, 3, size, size)
    print(f"{name}: batch {len(pixels)}, {size} px; minimum / median / maximum of {REPETITIONS}")
    ratios: list[float] = []
    for task in TASKS:
        steps = {
            "frozen": frozen_step(backbone, pixels),
            "sampled": training_step(run, backbone, task, pixels),
            "dense": training_step(run, backbone, task, pixels, observer=ignoring),
            "thin": training_step(run, backbone, task, pixels, unobserved="thin"),
            "auto": training_step(run, backbone, task, pixels, unobserved="auto"),
            "no penalty": training_step(
                run, backbone, task, pixels, unobserved="auto", penalty=False
            ),
        }
        with ExitStack() as stack:
            if compiles:
                steps["compiled"] = training_step(
                    run, backbone, task, pixels, unobserved="auto", compiled=stack
                )
                steps["compiled"]()
            seconds = repeated(steps)
        middle = {step: statistics.median(values) for step, values in seconds.items()}
        frozen = middle["frozen"]
        print(f"  task {task}: penalty {middle['auto'] - middle.pop('no penalty'):.3f} s")
        for step, median in middle.items():
            print(f"    {step:<8} {spread(seconds[step])}   ratio {median / frozen:.2f}")
        for window in (LoracIpcConfig().ipc_window, smallest_window()):
            share = window / TASK_STEPS
            averages = {
                step: (share * middle["sampled"] + (1 - share) * middle[step]) / frozen
                for step in middle
                if step not in {"frozen", "sampled"}
            }
            texts = ", ".join(f"{step} {average:.2f}" for step, average in averages.items())
            print(f"    average of {TASK_STEPS} steps, window {window}: {texts}")
        ratios.append(averages["auto"])
    print(f"  task {TASKS[-1]} over task {TASKS[0]}, auto: {ratios[-1] / ratios[0]:.2f}")
    return ratios[-1]


def smallest_window() -> int:
    """Return the smallest `ipc_window` that the default decays allow."""
    config = LoracIpcConfig()
    return ceil(log(WINDOW_TOLERANCE) / log(max(config.ipc_beta1, config.ipc_beta2)))


def measure_layer() -> None:
    """Print the rows of one layer of ViT-B, with the rows of x of a batch of eight images."""
    rows = 8 * 197
    print(f"layer 768 -> 3072: {rows} rows; minimum / median / maximum of {REPETITIONS}")
    for task in TASKS:
        shape = LayerShape(768, 3072, 1, rows, 8 * task)
        seconds = repeated(layer_steps(shape))
        bare = statistics.median(seconds["bare"])
        print(f"  task {task}: auto is {fastest_form(shape)}")
        for form, values in seconds.items():
            ratio = statistics.median(values) / bare
            print(f"    {form:<8} {spread(values)}   ratio {ratio:.2f}")


def main() -> None:
    """Print all shapes, or those that are named, and the ratio of the last one."""
    prepare_process(TrainConfig())
    torch.manual_seed(0)
    print(f"{platform.machine()}, torch {torch.__version__}, one thread, CPU seconds per step")
    arguments = [argument for argument in sys.argv[1:] if argument != "--compile"]
    ratio = float("nan")
    for name in arguments or ("d192", "layer", "vit_base"):
        if name == "layer":
            measure_layer()
        else:
            ratio = measure(name, RUNS[name], compiles="--compile" in sys.argv[1:])
    print(f"step_over_frozen_backbone_task{TASKS[-1]}: {ratio:.2f}")


if __name__ == "__main__":
    main()
