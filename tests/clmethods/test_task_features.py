"""Task tables: what they measure, on which images, and where they are kept."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from clmethods.config import RunConfig, StreamConfig
from clmethods.config.run import run_to_dict
from clmethods.config.task_table import TaskTable, table_id
from clmethods.data import task_tables
from clmethods.data.source import DatasetError
from clmethods.data.task_tables import keep_table, kept_table
from clmethods.task_features import compute_table, main, task_table
from tests.clmethods.data.files import noise, write_png
from tests.clmethods.runs import TINY

DIGITS = StreamConfig(dataset="digits", tasks=5, limit=6)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CLMETHODS_CACHE", str(folder))
    return folder


def cloud(centre: list[float], n: int, seed: int) -> Tensor:
    """(n, D) features around a centre, with unit spread in each direction."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(n, len(centre), generator=generator)
    return found - found.mean(dim=0) + torch.tensor(centre)


def slow_difficulty(task: list[Tensor]) -> tuple[float, float]:
    """Leave-one-out by leaving out: the same numbers as `compute_table`, image by image."""
    wrong, shares = [], []
    for label, found in enumerate(task):
        for i, x in enumerate(found):
            others = [c.mean(dim=0) for j, c in enumerate(task) if j != label]
            other = min(float((x - mean).norm()) for mean in others)
            rest = torch.cat([found[:i], found[i + 1 :]])
            own = float((x - rest.mean(dim=0)).norm()) if len(rest) else float("inf")
            wrong.append(own >= other)
            shares.append(1.0 if own == float("inf") else own / (own + other))
    return sum(wrong) / len(wrong), sum(shares) / len(shares)


def test_distances_are_those_of_prototypes_in_units_of_the_spread() -> None:
    """Prototypes at 0, 30 and 40 on a line; every class has a spread of its own making."""
    tasks = [
        [cloud([-1.0, 0.0], 40, 0), cloud([1.0, 0.0], 9, 1)],
        [cloud([30.0, 0.0], 20, 2)],
        [cloud([40.0, 0.0], 20, 3)],
    ]
    table = compute_table("made up", tasks)
    within = [(c - c.mean(dim=0)).square().sum(dim=1).mean() for task in tasks for c in task]
    spread = float(torch.stack(within).mean().sqrt())
    expected = [[0, 30, 40], [30, 0, 10], [40, 10, 0]]
    assert torch.tensor(table.distance).tolist() == pytest.approx(
        torch.tensor(expected) / spread, abs=1e-4
    )
    assert table.error[1:] == (0.0, 0.0)  # one class: as easy as can be
    assert table.tasks == 3


@pytest.mark.parametrize("gap", [0.5, 2.0, 8.0])
def test_difficulty_is_the_leave_one_out_error_of_the_nearest_class_mean(gap: float) -> None:
    task = [cloud([0.0, 0.0], 12, 0), cloud([gap, 0.0], 7, 1), cloud([0.0, 3 * gap], 1, 2)]
    table = compute_table("made up", [task])
    error, ambiguity = slow_difficulty(task)
    assert table.error[0] == pytest.approx(error, abs=1e-5)
    assert table.ambiguity[0] == pytest.approx(ambiguity, abs=1e-4)
    easier = compute_table("made up", [[c + 100 * i for i, c in enumerate(task[:2])]])
    assert easier.error[0] == 0 < table.ambiguity[0]
    assert easier.ambiguity[0] < table.ambiguity[0]


def test_only_training_images_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other validation and test pictures: the same numbers. Other training pictures: not."""

    first_seeds = {"train": 0, "validation": 1000, "test": 2000}

    def table(name: str, **seeds: int) -> TaskTable:
        root = tmp_path / name
        monkeypatch.setenv("CLMETHODS_CACHE", str(root / "cache"))  # names are the same
        lines = ["path,label,task,split"]
        for label in range(4):
            for split in ("train", "validation", "test"):
                for i in range(3):
                    seed = seeds.get(split, first_seeds[split]) + 100 * label + i
                    picture = noise(8, 8, seed=seed)
                    write_png(root / f"{split}{label}{i}.png", picture)
                    lines.append(f"{split}{label}{i}.png,c{label},t{label // 2},{split}")
        (root / "my.csv").write_text("\n".join(lines) + "\n")
        stream = StreamConfig(dataset="manifest", manifest=str(root / "my.csv"))
        return replace(task_table(TINY, stream), of="")

    first = table("first")
    assert table("held_out", validation=5000, test=9000) == first
    assert table("training", train=7000).distance != first.distance
    assert min(max(row) for row in first.distance) > 0


def test_the_id_follows_the_data_and_nothing_else() -> None:
    first = table_id(TINY, DIGITS)
    assert table_id(TINY, replace(DIGITS, task_order=(4, 0, 1, 2, 3), root="elsewhere")) == first
    others = [
        (TINY, replace(DIGITS, split_seed=1)),
        (TINY, replace(DIGITS, class_order_seed=1)),
        (TINY, replace(DIGITS, limit=5)),
        (TINY, replace(DIGITS, tasks=2)),
        (replace(TINY, image_size=16), DIGITS),
    ]
    assert len({first, *(table_id(*other) for other in others)}) == 1 + len(others)


def test_a_table_is_measured_once_and_again_with_the_same_numbers(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = task_table(TINY, DIGITS)
    (file,) = cache.glob("tasks-*.json")
    assert kept_table(first.of) == first
    with monkeypatch.context() as patched:
        patched.setattr("clmethods.task_features.TaskStream", None)  # it is not opened again
        assert task_table(TINY, replace(DIGITS, task_order=(1, 0, 2, 3, 4))) == first
    file.write_bytes(file.read_bytes()[:-9])  # cut off: as if it were not there
    assert kept_table(first.of) is None
    assert task_table(TINY, DIGITS) == first


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "file"))
    table = TaskTable(of="x", distance=((0.0,),), error=(0.0,), ambiguity=(0.0,))
    with pytest.raises(DatasetError, match="Set CLMETHODS_CACHE to a folder with enough space"):
        keep_table(table)
    assert task_tables.kept_table("x") is None


def test_the_command_tells_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunConfig(backbone=TINY, stream=StreamConfig(dataset="cifar100", root=str(tmp_path)))
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps([run_to_dict(run)])))
    assert main() == 1
    assert capsys.readouterr().err.startswith("cifar100: the original files are required")
