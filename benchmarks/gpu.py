"""Training step and stage of LoRAC-IPC on a GPU over those of the bare timm backbone.

* **step**: forward, loss, backward, clipping, Adam, at tasks 1 and 10, over forward and backward
  through the frozen network; same precision, same batch. Seconds include waiting for the device.
* **stage**: images per second of `run_stage`, from uint8 images, over those of a loop that calls
  the frozen network on pixels that are on the device.
* **memory**: largest allocation on the device of each of them.

    python benchmarks/gpu.py [--device cpu]

On the CPU, shapes are tiny and only show that everything but the kernels runs; memory is not
measured there.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch

from clmethods.config import (
    BackboneConfig,
    LoracIpcConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
    resolve,
    stage_chain,
)
from clmethods.determinism import open_run, prepare_process
from clmethods.nn.backbone import FrozenBackbone, features, load_backbone
from clmethods.training.stage import run_stage

REPETITIONS = {"cuda": 7, "cpu": 1}
TASKS = (1, 10)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    run: RunConfig


def cases(device: str) -> list[Case]:
    """Return the runs: ViT-B/16 on a GPU in three precisions, a tiny network on the CPU."""
    method = LoracIpcConfig(rank=8, importance_threshold=0.0, ipc_unobserved="auto")
    if device == "cpu":
        tiny = RunConfig(
            backbone=BackboneConfig(name="tiny_vit8", weights="random", image_size=8),
            stream=StreamConfig(dataset="glyph100", tasks=10, limit=2),
            method=replace(method, rank=2),
            train=TrainConfig(epochs=1, batch_size=8),
        )
        precisions = ("float32", "bfloat16")
        return [
            Case(f"tiny_vit8 {p}", replace(tiny, train=replace(tiny.train, precision=p)))
            for p in precisions
        ]
    base = RunConfig(
        backbone=BackboneConfig(
            name="vit_base_patch16_224", weights="random", image_size=224, normalise="half"
        ),
        stream=StreamConfig(dataset="glyph100", tasks=10),
        method=method,
        train=TrainConfig(epochs=4, batch_size=128, device="cuda"),
    )
    settings = {
        "float32": {"precision": "float32"},
        "tf32": {"precision": "float32", "tf32": True},
        "bfloat16": {"precision": "bfloat16"},
        "bfloat16, compiled": {"precision": "bfloat16", "compile": True},
    }
    return [
        Case(f"ViT-B/16 {name}", replace(base, train=replace(base.train, **changes)))
        for name, changes in settings.items()
    ]


class Device:
    """Clock and memory of a device."""

    def __init__(self, name: str) -> None:
        self.name = name

    def seconds(self, steps: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
        """Return the wall seconds of interleaved repetitions after a warm-up."""
        found: dict[str, list[float]] = {name: [] for name in steps}
        for repetition in range(REPETITIONS[self.name] + 1):
            for name, step in steps.items():
                self.wait()
                start = time.perf_counter()
                step()
                self.wait()
                if repetition:
                    found[name].append(time.perf_counter() - start)
        return found

    def wait(self) -> None:
        """Wait until the device has finished its work."""
        if self.name == "cuda":
            torch.cuda.synchronize()

    def peak(self, step: Callable[[], object]) -> str:
        """Return the largest allocation during a step, as text."""
        if self.name != "cuda":
            step()
            return "-"
        torch.cuda.reset_peak_memory_stats()
        step()
        return f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"


def rows(case: Case, device: Device) -> list[list[str]]:
    """Measure a run; return its rows of the table."""
    from step import frozen_step, training_step  # this folder is on the path of a script only

    run = resolve(case.run)
    prepare_process(run.train)
    train = run.train
    backbone = load_backbone(run.backbone, train.precision, train.device, train.tf32_acts)
    size = run.backbone.image_size
    pixels = torch.randn(train.batch_size, 3, size, size).to(train.device)
    table: list[list[str]] = []
    for task in TASKS:
        with ExitStack() as stack:
            compiled = stack if train.compile else None
            steps: dict[str, Callable[[], object]] = {
                "frozen": frozen_step(backbone, pixels),
                "step": training_step(
                    run, backbone, task, pixels, unobserved="auto", compiled=compiled
                ),
            }
            found = device.seconds(steps)
            memory = f"{device.peak(steps['frozen'])}, {device.peak(steps['step'])}"
        frozen, step = (statistics.median(found[name]) for name in ("frozen", "step"))
        spread = f"{min(found['step']):.4f} / {step:.4f} / {max(found['step']):.4f} s"
        table.append([case.name, f"step, task {task}", spread, f"{step / frozen:.2f}", memory])
    return [*table, stage_row(case.name, run, backbone, device)]


def stage_row(name: str, run: RunConfig, backbone: FrozenBackbone, device: Device) -> list[str]:
    """Return the row of a stage from images to its delta, without its last evaluation."""
    stage, (_, stream) = stage_chain(run)[0], open_run(run)
    data = stream.data_of_all(stage.groups, "train")
    network, batch = backbone.build(), run.train.batch_size
    pixels = backbone.preprocess(data.images[:batch]).requires_grad_()
    images = run.train.epochs * len(data)

    def bare() -> None:
        for start in range(0, images, batch):
            part = pixels[: min(batch, images - start)]
            found = features(network, part)
            torch.autograd.grad(found, part, torch.ones_like(found))

    steps = {"bare": bare, "stage": lambda: run_stage(run, stage, {})}
    seconds = device.seconds(steps)
    rates = {key: images / statistics.median(values) for key, values in seconds.items()}
    memory = f"{device.peak(steps['bare'])}, {device.peak(steps['stage'])}"
    spread = f"{rates['stage']:.0f} images/s, bare {rates['bare']:.0f}"
    return [name, "stage", spread, f"{rates['stage'] / rates['bare']:.2f}", memory]


def main() -> None:
    """Print the table as Markdown."""
    name = "cpu" if sys.argv[1:] == ["--device", "cpu"] else "cuda"
    if name == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU; run with --device cpu to see that everything else works")
    kind = torch.cuda.get_device_name() if name == "cuda" else "CPU, one thread"
    print(
        f"{kind}, torch {torch.__version__}; minimum / median / maximum of {REPETITIONS[name]}\n"
    )
    print("| run | measured | value | over bare backbone | memory: bare, own |")
    print("|---|---|---:|---:|---|")
    device = Device(name)
    for case in cases(name):
        for row in rows(case, device):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
