"""Components that `test_adding.py` adds to a copy of the repository, as a contributor would.

Each has the new files and the insertions that its row of "Adding components" in CONTRIBUTING
names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Component:
    """Component with the files that it adds and changes."""

    row: str
    """First cell of its row in CONTRIBUTING."""
    name: str
    created: dict[str, str]
    """Contents of new files, by their path in the repository."""
    inserted: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """(Line, text to insert before it) of existing files, by their path in the repository."""

    @property
    def touched(self) -> set[str]:
        """Return the paths of all files that are added or changed."""
        return self.created.keys() | self.inserted.keys()

    def add_to(self, repository: Path) -> None:
        """Write the component into a copy of the repository."""
        for path, text in self.created.items():
            file = repository / path
            assert not file.exists(), path
            file.write_text(text, encoding="utf-8")
        for path, insertions in self.inserted.items():
            file = repository / path
            text = file.read_text(encoding="utf-8")
            for anchor, new in insertions:
                assert text.count(anchor) == 1, (path, anchor)
                text = text.replace(anchor, new + anchor)
            file.write_text(text, encoding="utf-8")


_SPECIFICATION = "docs/method" + ".md"  # in one word, it would be a citation without a section

METHOD = Component(
    "a method",
    "damped_merge",
    created={
        "clmethods/config/methods/damped_merge.py": '''\
"""Hyperparameters of damped merging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clmethods.config.methods.fields import Effect, EffectContext, LoraFields
from clmethods.config.methods.run_shapes import GroupsByStage, RunShapes
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class DampedMergeConfig(LoraFields):
    """LoRA with a new module per task and a penalty on the size of B."""

    ROUTINGS: ClassVar[tuple[str, ...]] = ("last", "instance", "batch", "oracle")
    RECURRING_CLASSES: ClassVar[bool] = True

    kind: Literal["damped_merge"] = "damped_merge"
    damping: float = 0.1
    """Weight of the squared norms of B."""

    def __post_init__(self) -> None:
        damping = require(self.damping >= 0, "damping", self.damping, "0 or more")
        refuse([*self.lora_issues(), damping])

    def effect(self, position: int, context: EffectContext) -> Effect:
        """Return the fields that act; `damping` needs a module."""
        acts = self.lora_effect(context)
        if self.matrices(context.blocks):
            acts["damping"] = self.damping
        return acts

    def stored(self, shapes: RunShapes) -> GroupsByStage:
        """Return the head and a new module per matrix for every stage."""
        return self.stored_in_module_each(shapes)
''',
        "clmethods/methods/damped_merge.py": '''\
"""Damped merging: a new module per task, with a penalty on B."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from clmethods.config.methods import DampedMergeConfig
from clmethods.methods.base import method_config
from clmethods.methods.task_modules import TaskModules


@final
class DampedMerge(TaskModules):
    """Loss = CE + damping sum_m |B_t|^2."""

    def extra_terms(self) -> dict[str, Tensor]:
        damping = method_config(self.run, DampedMergeConfig).damping
        squares = [adapter.b.square().sum() for adapter in self.adapters.values()]
        return {"damping": damping * torch.stack(squares).sum()} if squares and damping else {}
''',
        "tests/clmethods/methods/test_damped_merge.py": '''\
"""Damped merging: the penalty makes modules smaller."""

from __future__ import annotations

from clmethods.config.methods import DampedMergeConfig
from tests.clmethods.runs import tiny_run, train


def test_a_larger_penalty_gives_smaller_modules() -> None:
    sizes = []
    for damping in (0.0, 10.0):
        run = tiny_run(DampedMergeConfig(rank=2, damping=damping), epochs=8, lr=0.01)
        delta = train(run, until=0).deltas[0]
        sizes.append(sum(t.square().sum().item() for n, t in delta.items() if n.endswith(".B")))
    assert 0 < sizes[1] < 0.5 * sizes[0]
''',
    },
    inserted={
        "clmethods/config/methods/__init__.py": [
            (
                "from clmethods.config.methods.ewc import EwcConfig\n",
                "from clmethods.config.methods.damped_merge import DampedMergeConfig\n",
            ),
            ("    | JointLinearConfig\n", "    | DampedMergeConfig\n"),
            (
                '    "joint_linear": JointLinearConfig,\n',
                '    "damped_merge": DampedMergeConfig,\n',
            ),
            ('    "Effect",\n', '    "DampedMergeConfig",\n'),
        ],
        "clmethods/methods/__init__.py": [
            (
                "from clmethods.methods.ewc import Ewc\n",
                "from clmethods.methods.damped_merge import DampedMerge\n",
            ),
            ('    "joint_linear": JointLinear,\n', '    "damped_merge": DampedMerge,\n'),
        ],
        "clmethods/README.md": [
            (
                "| `joint_full`, `joint_lora`, `joint_linear` |",
                "| `damped_merge` | 9.3 | `lora_merge` with a penalty on B | yes |\n",
            )
        ],
        _SPECIFICATION: [("### 9.4 O-LoRA\n", "`damped_merge` adds a penalty on $B$.\n\n")],
        "benchmarks/methods.py": [
            ('    "O-LoRA": {', '    "damped merge": {"kind": "damped_merge", **SIZE},\n')
        ],
        "tests/strategies.py": [
            (
                "from clmethods.config.methods.lorac_ipc import CURRENT_WEIGHTS\n",
                "from clmethods.config.methods.damped_merge import DampedMergeConfig\n",
            ),
            (
                "        st.just(JointLinearConfig()),\n",
                "        st.builds(DampedMergeConfig, **_lora, damping=_weights),\n",
            ),
        ],
        "tests/clmethods/contract_values.py": [
            ('    "method.metric": ("euclid",),\n', '    "method.damping": (1.0,),\n')
        ],
    },
)

DATASET = Component(
    "a dataset",
    "stripes",
    created={
        "clmethods/data/stripes.py": '''\
"""Reader of a generated dataset: stripes of four directions."""

from __future__ import annotations

import numpy as np

from clmethods.data.source import Source
from clmethods.user_data.folder_listing import TEST, TRAIN


def stripes() -> Source:
    """Generate 40 images, 8 x 8 gray, of each of four directions; a quarter is for tests."""
    y, x = np.mgrid[:8, :8]
    directions = np.stack([x % 2, y % 2, (x + y) % 2, x // 2 % 2])
    labels = np.repeat(np.arange(4), 40)
    noise = np.random.default_rng(0).integers(0, 64, (160, 8, 8))
    images = (directions[labels] * 128 + noise).astype(np.uint8)
    splits = np.where(np.arange(160) % 4 == 0, TEST, TRAIN).astype(np.int8)
    return Source(labels=labels, splits=splits, read=lambda: images)
''',
        "tests/clmethods/data/test_stripes.py": '''\
"""The generated stripes."""

from __future__ import annotations

from clmethods.config import StreamConfig
from clmethods.data.datasets import open_images


def test_there_are_as_many_images_of_each_class() -> None:
    data = open_images(StreamConfig(dataset="stripes"), 8)
    assert data.images.shape == (160, 8, 8)
    assert [int((data.labels == label).sum()) for label in range(4)] == [40] * 4
''',
    },
    inserted={
        "clmethods/data/datasets.py": [
            (
                "from clmethods.data.fetch import fetch\n",
                "from clmethods.data import stripes as stripes_reader\n",
            ),
            (
                '    "cifar10": cifar.cifar10,\n',
                '    "stripes": lambda _: stripes_reader.stripes(),\n',
            ),
        ],
        "clmethods/catalog/facts.py": [
            (
                '    "cifar10": DatasetFacts(',
                '    "stripes": DatasetFacts(version="1", classes=4, tasks=2, embedded=True),\n',
            )
        ],
        "clmethods/README.md": [
            ("| `cifar10`, `cifar100` |", "| `stripes` | generated stripes of four directions |\n")
        ],
    },
)

ORDER_DESIGN = Component(
    "a task-order design",
    "outside_in",
    created={},
    inserted={
        "sweeps/definition/orders/design_functions.py": [
            (
                "ORDERS: dict[str, OrderFunction] = {\n",
                '''def outside_in(
    num_tasks: int, count: int | None = None, seed: int = 0, rule: Precedence | None = None
) -> tuple[Order, ...]:
    """Return the order that takes tasks from both ends alternately."""
    _only("outside_in", 1, count)
    last = num_tasks - 1
    return (_rule(num_tasks, rule).greedy((), lambda _, task: min(task, last - task)),)


''',
            ),
            ('    "latin_square": latin_square,\n', '    "outside_in": outside_in,\n'),
        ],
        "sweeps/definition/orders/orders_section.py": [
            (
                '    "near_first": "Nothing',
                '    "outside_in": "Nothing: one order, from both ends to the middle.",\n',
            ),
            ('        "near_first",\n        "far_first",\n', '        "outside_in",\n'),
        ],
    },
)

ANALYSIS = Component(
    "an analysis",
    "extremes",
    created={
        "sweeps/analysis/trials/best_and_worst.py": '''\
"""Best and worst run of every configuration."""

from __future__ import annotations

import pyarrow as pa


def best_and_worst(summary: pa.Table, metric: str) -> pa.Table:
    """Return the columns label, minimum and maximum of a metric, one row per configuration."""
    grouped = summary.group_by("label", use_threads=False)
    return grouped.aggregate([(metric, "min"), (metric, "max")])
''',
        "sweeps/cli/commands/extremes.py": '''\
"""`sweeps extremes`: best and worst run of every configuration."""

from __future__ import annotations

import click

from sweeps.analysis.trials.best_and_worst import best_and_worst
from sweeps.analysis.trials.summary import summarize
from sweeps.cli.errors import exit_on_user_error, note_left_out
from sweeps.cli.locate import open_stored_sweep
from sweeps.search.requested_results import read_results


@click.command()
@click.argument("directory", metavar="DIR")
@exit_on_user_error
def extremes(directory: str) -> None:
    """Show the best and the worst accuracy of every configuration."""
    stored = open_stored_sweep(directory)
    results = read_results(stored.sweep, stored.objects)
    note_left_out(results.left_out)
    table = best_and_worst(summarize(results.trials, results.evals, "test"), "average_accuracy")
    click.echo("\\n".join([*results.warnings, "Best and worst run; no interval."]))
    for label, least, most in zip(*(column.to_pylist() for column in table.columns), strict=True):
        click.echo(f"{label}: " + ("-" if least is None else f"{least:.3f} to {most:.3f}"))
    if not table.num_rows:
        click.echo("no finished trial yet")
''',
        "tests/sweeps/analysis/trials/test_best_and_worst.py": '''\
"""Best and worst runs."""

from __future__ import annotations

import pyarrow as pa

from sweeps.analysis.trials.best_and_worst import best_and_worst


def test_runs_without_a_result_do_not_count() -> None:
    runs = pa.table({"label": ["a", "a", "b", "a"], "m": [0.5, None, 0.1, 0.75]})
    rows = best_and_worst(runs, "m").to_pylist()
    assert [[*row.values()] for row in rows] == [["a", 0.5, 0.75], ["b", 0.1, 0.1]]
''',
    },
    inserted={
        "sweeps/cli/__init__.py": [
            ('    "compare": "', '    "extremes": "Show the best and the worst run.",\n'),
        ],
        "README.md": [
            ("| `sweeps path runs/demo A B", "| `sweeps extremes runs` | best and worst runs |\n")
        ],
        "tests/sweeps/cli/test_every_reader.py": [
            ('    "matrices": lambda at:', '    "extremes": lambda at: ("extremes", at),\n')
        ],
    },
)

COMPONENTS = (METHOD, DATASET, ORDER_DESIGN, ANALYSIS)
