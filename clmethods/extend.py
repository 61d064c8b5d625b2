"""extend_model: the task that arrives after a run was finished, learned on top of it.

The new model holds the old stages as they are and one more. Its classes are numbered on, so the
head grows at its end. Beside it stand what a team would try instead, on the same new images: class
means on the frozen backbone, a linear probe, and the same method without the old tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from clmethods.archive import (
    ModelArchive,
    StoredMetrics,
    keep_statistics,
    metrics_by_split,
    write,
)
from clmethods.checkpoint import fold
from clmethods.checksummed_json import sealed
from clmethods.config import (
    LoraSequentialConfig,
    MethodConfig,
    NearestClassMeanConfig,
    NewTask,
    RunConfig,
    StageSpec,
    as_trained,
    extended,
    stage_chain,
)
from clmethods.data.source import DatasetError
from clmethods.data.streams import EVALUATED_SPLITS
from clmethods.determinism import on_device, open_run
from clmethods.methods import METHODS, Predictor, State
from clmethods.readout.statistics import ReadoutStatistics
from clmethods.training.sequence import run_sequence
from clmethods.training.stage import run_stage

COMPARISON_FILE = "extension.json"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Test accuracies of one way to meet the new task, as fractions; None where it has none."""

    way: str
    new_given: float | None = None
    """On the new task among its own classes."""
    new: float | None = None
    """On the new task among all classes, old and new."""
    old: float | None = None
    """Mean over the old tasks, among all classes that the way knows."""


@final
@dataclass(frozen=True, slots=True)
class Extension:
    """What `extend_model` did."""

    archive: ModelArchive
    standings: list[Standing]
    old_data: str | None
    """Why the old tasks could not be evaluated; None if they were."""


def extend_model(
    archive: ModelArchive,
    task: NewTask,
    out: Path,
    report: Callable[[str], None] = lambda message: None,
) -> Extension:
    """Learn `task` on top of a finished model and keep both in the new directory `out`.

    Goes on where it stopped if it is called again. Raises `ArchiveError` for a model that is not
    finished or a directory that holds another, `DatasetError` if the new images are missing, and
    `InvalidConfigError` where the method cannot learn one more task.
    """
    run = extended(archive.run, task)
    before = archive.metrics()
    archive.deltas()  # whole and undamaged, before anything is written
    new = run.stream.groups()[-1].classes
    for split in EVALUATED_SPLITS:  # the new images are there, or nothing is begun
        open_run(run)[1].data(new, split)
    grown = ModelArchive.create(out, run, report)
    grown.copy_stages(archive)
    statistics = ReadoutStatistics(archive.statistics())
    old_data = None
    try:
        steps = run_sequence(run, before.readouts, grown, grown, statistics=statistics)
        splits = metrics_by_split(run, steps, before.readouts)
    except DatasetError as error:
        old_data, splits = str(error), {}
    with suppress(DatasetError):  # a model directory of before kept no statistics
        keep_statistics(grown, before.readouts, statistics)
    grown.save_metrics(StoredMetrics(before.readouts, splits))
    standings = [
        Standing(way="the model before", old=_stored_average(before)),
        _chain_standing(run, f"{run.method.kind} on top of it", grown.deltas(), old_data is None),
        *_alternatives(run, old_data is None),
    ]
    write(
        out / COMPARISON_FILE,
        sealed({"standings": [asdict(s) for s in standings]}, readable=True),
    )
    return Extension(grown, standings, old_data)


def _alternatives(run: RunConfig, old_data: bool) -> list[Standing]:
    means = replace(run, method=NearestClassMeanConfig())
    standings = [
        _alone(run, "class means on the frozen backbone", NearestClassMeanConfig()),
        _alone(run, "linear probe on the frozen backbone", LoraSequentialConfig(depth=0)),
        _alone(run, f"{run.method.kind} without the old tasks", run.method),
    ]
    if old_data:
        deltas: list[State] = []
        for stage in stage_chain(means):
            deltas.append(run_stage(as_trained(means, stage.position), stage, fold(deltas)).delta)
        standings[0] = _chain_standing(means, standings[0].way, deltas, True)
    return standings


def _alone(run: RunConfig, way: str, method: MethodConfig) -> Standing:
    """A method that learns the new task as its first: it does not know the old classes."""
    run = replace(run, method=method)
    last = stage_chain(run)[-1]
    stage = StageSpec("", None, 0, last.groups, last.task_key, last.effect)
    first = replace(run, stream=replace(run.stream, added_first=True))  # type: ignore[call-arg]
    state = run_stage(first, stage, {}).delta
    return Standing(way=way, new_given=_accuracies(first, state, 0, (0,), given=True)[0])


def _chain_standing(run: RunConfig, way: str, deltas: Sequence[State], old_data: bool) -> Standing:
    """A chain that knows all classes, read from its last snapshot."""
    state, position = fold(deltas), len(deltas) - 1
    given = _accuracies(run, state, position, (-1,), given=True)[0]
    new = _accuracies(run, state, position, (-1,), given=False)[0]
    if not old_data:
        return Standing(way=way, new_given=given, new=new)
    old = _accuracies(run, state, position, range(position), given=False)
    return Standing(way=way, new_given=given, new=new, old=sum(old) / len(old))


def _accuracies(
    run: RunConfig, state: State, position: int, tasks: Sequence[int], *, given: bool
) -> list[float]:
    """Test accuracy on some tasks of the sequence, among their own classes or among all."""
    backbone, stream = open_run(run)
    method = METHODS[run.method.kind]
    state = on_device(state, run.train.device)
    predictor: Predictor = method.predictor(run, backbone, state, position, position)
    sequence = run.stream.sequence()
    every = sorted({label for group in sequence for label in group.classes})
    found: list[float] = []
    for task in tasks:
        data = stream.data_of(sequence[task], "test")
        among = torch.tensor(sequence[task].classes if given else every)
        scores: Tensor = predictor.scores(data.images).cpu()
        hits = among[scores[:, among].argmax(dim=1)] == data.labels
        found.append(float(hits.double().mean()))
    return found


def _stored_average(metrics: StoredMetrics) -> float | None:
    found = metrics.splits.get("test", {}).get("last", {}).get("average_accuracy")
    return None if found is None else float(found)
