"""All methods on an embedded benchmark: same budget, 3 seeds x 3 orders, one table with intervals.

    python benchmarks/methods.py digits
    python benchmarks/methods.py glyph100 --dinov2 build/dinov2_small/dinov2_small.safetensors

Runs a real sweep through Ray Tune (a second call continues and trains nothing anew), then prints a
Markdown table of test figures, what must hold, and which of LoRAC-IPC's own claims show here. The
last line is the gain of LoRAC-IPC over LoRA-sequential in average accuracy, in points.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import sweeps
from clmethods.config import StreamConfig
from clmethods.data.streams import TaskStream
from clmethods.metrics import average_accuracy, forgetting, learning_accuracy
from sweeps.definition import Sweep, sweep_from_dict
from sweeps.execution.driver import run_sweep
from sweeps.stages.stage_store import StageStore
from sweeps.statistics.intervals import Interval, mean_interval
from sweeps.storage import open_storage

SEEDS = [0, 1, 2]
ORDERS = {"design": "random", "count": 3, "seed": 0}
BUDGET = {"epochs": 5, "batch_size": 32, "lr": 0.005}
SIZE: dict[str, Any] = {"rank": 4, "lora_alpha": 4}
LORAC: dict[str, Any] = {"kind": "lorac_ipc", **SIZE, "ortho_lambda": 0.1}
LORAC["importance_threshold"] = 0.1

STREAMS: dict[str, dict[str, Any]] = {
    "digits": {"dataset": "digits", "tasks": 5, "limit": 80},
    "glyph100": {"dataset": "glyph100", "tasks": 10, "limit": 20},
    "embedded4": {"dataset": "embedded4", "tasks": 4, "limit": 40},
}
"""The embedded benchmarks, cut down to at most so many images a class and split, so that the whole
comparison takes minutes."""

METHODS: dict[str, dict[str, Any]] = {
    "joint, full": {"kind": "joint_full"},
    "joint, LoRA": {"kind": "joint_lora", **SIZE},
    "joint, linear": {"kind": "joint_linear"},
    "LoRAC-IPC without orthogonality": LORAC | {"ortho_mode": "none"},
    "LoRAC-IPC without IPC": LORAC | {"importance_threshold": 0},
    "LoRAC-IPC without learned weights": LORAC | {"module_weights": "ones"},
    "LoRA-sequential": {"kind": "lora_sequential", **SIZE},
    "LoRA-merge": {"kind": "lora_merge", **SIZE},
    "O-LoRA": {"kind": "o_lora", **SIZE},
    "InfLoRA": {"kind": "inflora"},
    "SD-LoRA": {"kind": "sd_lora"},
    "sequential fine-tuning, local loss": {"kind": "sequential_finetuning"},
    "sequential fine-tuning, global loss": {
        "kind": "sequential_finetuning",
        "head_loss": "global",
    },
    "EWC": {"kind": "ewc"},
    "LwF": {"kind": "lwf"},
    "SLCA": {"kind": "slca"},
    "linear probe": {"kind": "linear_probe"},
    "nearest class mean": {"kind": "nearest_class_mean"},
    "RanPAC": {"kind": "ranpac", **SIZE},
    "ridge on frozen features": {"kind": "ranpac", "first_session": False, "projection": 0},
}
"""Everything but LoRAC-IPC itself, which is the base of the sweep."""

ON_RANDOM = {"LoRAC-IPC, random backbone": LORAC, "nearest class mean, random backbone": None}
COLUMNS = ("average_accuracy", "forgetting", "learning_accuracy")


def make_sweep(name: str, dinov2: Path | None) -> Sweep:
    """The benchmark as a sweep: LoRAC-IPC is the base, everything else rides along."""
    others: list[dict[str, Any]] = [
        {"label": label, "method": method} for label, method in METHODS.items()
    ]
    for label, method in ON_RANDOM.items():
        chosen = method or {"kind": "nearest_class_mean"}
        others.append({"label": label, "method": chosen, "backbone": {"weights": "random"}})
    if dinov2 is not None:
        backbone = {
            "name": "vit_small_patch14_dinov2",
            "weights": str(dinov2),
            "image_size": 56,
            "normalise": "imagenet",
        }
        frozen = {"kind": "nearest_class_mean"}
        label = "nearest class mean, DINOv2-small at 56 px"
        others.append({"label": label, "method": frozen, "backbone": backbone})
    return sweep_from_dict(
        {
            "name": f"methods-{name}",
            "backbone": {"name": "nano_vit32", "weights": "shipped", "image_size": 16},
            "stream": STREAMS[name],
            "method": LORAC,
            "train": BUDGET,
            "readouts": [{"routing": "last"}, {"routing": "instance", "metric": "corr"}],
            "orders": ORDERS,
            "seeds": SEEDS,
            "baselines": others,
        }
    )


class Figures:
    """Test metrics of every row of the table, run by run."""

    def __init__(self, directory: str, sweep: Sweep) -> None:
        loaded = sweeps.load(directory)
        seconds = dict(
            zip(
                loaded.stages["stage_key"].to_pylist(),
                loaded.stages["wall_s"].to_pylist(),
                strict=True,
            )
        )
        wall = {
            trial["trial_id"]: sum(seconds[key] for key in trial["stage_keys"])
            for trial in loaded.trials.to_pylist()
        }
        self.runs: dict[str, list[dict[str, Any]]] = {}
        base = sweep.configurations[0].label
        for row in loaded.summary.to_pylist():
            if row["split"] != "test" or row["wanted"] is False:
                continue
            name = "LoRAC-IPC" if row["label"] == base else row["label"]
            if row["readout_id"] != "last":
                name += ", task inferred"
            self.runs.setdefault(name, []).append(row | {"wall_s": wall[row["trial_id"]]})

    def interval(self, name: str, metric: str) -> Interval | None:
        """Mean and 95 % interval over orders and seeds; None where the metric is undefined."""
        runs = [run for run in self.runs[name] if run[metric] is not None]
        if not runs:
            return None
        values = [run[metric] for run in runs]
        return mean_interval(values, [r["order_id"] for r in runs], [r["seed"] for r in runs])

    def mean(self, name: str, metric: str) -> float:
        """Mean alone. Raises ValueError where the metric is undefined."""
        found = self.interval(name, metric)
        if found is None:
            raise ValueError(f"{metric} of {name} is undefined")
        return found.mean

    def difference(self, one: str, other: str, metric: str) -> Interval:
        """one - other, paired by order and seed."""
        theirs = {(r["order_id"], r["seed"]): r[metric] for r in self.runs[other]}
        pairs = [r for r in self.runs[one] if (r["order_id"], r["seed"]) in theirs]
        values = [r[metric] - theirs[r["order_id"], r["seed"]] for r in pairs]
        return mean_interval(values, [r["order_id"] for r in pairs], [r["seed"] for r in pairs])


def raw_pixels(sweep: Sweep) -> list[dict[str, Any]]:
    """Nearest class mean on the pixels: cosine, centred on nothing, one run per order."""
    rows = []
    base = sweep.configurations[0].run
    for order in sweep.orders_for(base):
        stream = base.stream
        opened = TaskStream(stream, base.backbone.image_size)
        groups = [stream.groups()[index] for index in order]
        means: dict[int, np.ndarray[Any, Any]] = {}
        matrix = np.full((len(groups), len(groups)), np.nan)
        for t, group in enumerate(groups):
            images, labels = _flat(opened, group.classes, "train")
            for label in group.classes:
                means[label] = images[labels == label].mean(axis=0)
            known = np.array(sorted(means))
            directions = np.stack([means[k] / np.linalg.norm(means[k]) for k in known])
            for j, old in enumerate(groups[: t + 1]):
                tested, truth = _flat(opened, old.classes, "test")
                matrix[t, j] = np.mean(known[(tested @ directions.T).argmax(axis=1)] == truth)
        rows.append(
            {
                "order_id": "-".join(map(str, order)),
                "seed": 0,
                "average_accuracy": average_accuracy(matrix),
                "forgetting": forgetting(matrix),
                "learning_accuracy": learning_accuracy(matrix),
                "trainable_parameters": 0,
                "wall_s": 0.0,
            }
        )
    return rows


def _flat(opened: TaskStream, classes: tuple[int, ...], split: Any) -> tuple[Any, Any]:
    data = opened.data(classes, split)
    return data.images.flatten(1).numpy() / 255.0, data.labels.numpy()


def table(figures: Figures) -> str:
    """The Markdown table, best average accuracy first."""
    head = ["method", "average accuracy", "forgetting", "learning accuracy", "trained", "seconds"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for name in sorted(figures.runs, key=lambda n: -figures.mean(n, "average_accuracy")):
        cells = [_shown(figures.interval(name, column)) for column in COLUMNS]
        trained = max(run["trainable_parameters"] or 0 for run in figures.runs[name])
        seconds = figures.mean(name, "wall_s")
        lines.append("| " + " | ".join([name, *cells, f"{trained:,}", f"{seconds:.1f}"]) + " |")
    return "\n".join(lines)


def _shown(found: Interval | None) -> str:
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{100 * found.mean:.1f}"
    return f"{100 * found.mean:.1f} ± {50 * (found.high - found.low):.1f}"


def must_hold(figures: Figures) -> list[tuple[str, bool, str]]:
    """Claims that must hold with clear margins: (sentence, True if it holds, the figures)."""

    def at(name: str, metric: str = "average_accuracy") -> float:
        return 100 * figures.mean(name, metric)

    best = max(at(n) for n in figures.runs if not n.startswith("joint"))
    joint = max(at("joint, full"), at("joint, LoRA"))
    collapse = at("sequential fine-tuning, global loss")
    kept, lost = at("LoRAC-IPC", "forgetting"), at("LoRA-sequential", "forgetting")
    means = at("nearest class mean") - at("nearest class mean, random backbone")
    lorac = at("LoRAC-IPC") - at("LoRAC-IPC, random backbone")
    return [
        ("joint is above all", joint > best, f"{joint:.1f} against {best:.1f}"),
        (
            "sequential fine-tuning with global loss collapses",
            collapse < joint / 2,
            f"{collapse:.1f} against {joint:.1f} joint",
        ),
        (
            "LoRAC-IPC forgets less than LoRA-sequential",
            kept < lost - 5,
            f"{kept:.1f} against {lost:.1f}",
        ),
        (
            "a random backbone is much worse",
            means > 10 and lorac > 5,
            f"by {means:.1f} points for class means, by {lorac:.1f} for LoRAC-IPC",
        ),
    ]


def claims(figures: Figures) -> list[str]:
    """Effect of each component of LoRAC-IPC: paired differences in average accuracy."""
    pairs = {
        "orthogonality": ("LoRAC-IPC", "LoRAC-IPC without orthogonality"),
        "important parameter constraints": ("LoRAC-IPC", "LoRAC-IPC without IPC"),
        "learned module weights": ("LoRAC-IPC", "LoRAC-IPC without learned weights"),
        "task-ID inference": ("LoRAC-IPC, task inferred", "LoRAC-IPC"),
    }
    lines = []
    for part, (one, other) in pairs.items():
        found = figures.difference(one, other, "average_accuracy")
        low, high = found.low or 0.0, found.high or 0.0
        verdict = "shows" if low > 0 else "hurts here" if high < 0 else "does not show here"
        lines.append(f"- {part}: {_shown(found)} points: {verdict}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("benchmark", choices=sorted(STREAMS))
    parser.add_argument("--storage", default="runs/bench-methods")
    parser.add_argument("--dinov2", type=Path, help="file from tools/fetch_dinov2_small.py")
    arguments = parser.parse_args()
    sweep = make_sweep(arguments.benchmark, arguments.dinov2)
    say: Callable[[str], None] = lambda message: print(message, file=sys.stderr)  # noqa: E731
    store = StageStore(open_storage(arguments.storage), say)
    outcome = run_sweep(sweep, store)
    for label, cause in outcome.failed:
        print(f"failed: {label}: {cause}", file=sys.stderr)
    if outcome.interrupted or outcome.failed:
        return 1
    figures = Figures(f"{arguments.storage}/sweeps/{sweep.name}", sweep)
    figures.runs["nearest class mean, raw pixels"] = raw_pixels(sweep)
    stream = StreamConfig(**STREAMS[arguments.benchmark])
    print(f"## {arguments.benchmark}: {stream.tasks} tasks, 3 orders x 3 seeds, percent, ± 95 %\n")
    print(table(figures))
    print("\nWhat must hold:\n")
    found = must_hold(figures)
    for sentence, holds, evidence in found:
        print(f"- {'yes' if holds else 'NO'}: {sentence} ({evidence})")
    print("\nDoes each part of LoRAC-IPC show (average accuracy, paired):\n")
    print("\n".join(claims(figures)))
    gain = figures.difference("LoRAC-IPC", "LoRA-sequential", "average_accuracy")
    print(f"\nlorac_ipc_over_lora_sequential_points: {100 * gain.mean:.1f}")
    return 0 if all(holds for _, holds, _ in found) else 1


if __name__ == "__main__":
    sys.exit(main())
