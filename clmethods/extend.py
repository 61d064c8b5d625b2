"""`extend_model`: training of one more task on top of a finished run.

The new model contains the old stages, unchanged, and one more. Its classes receive the next free
ids, so the head grows at its end. Alternatives are evaluated on the same new images for
comparison: class means on the frozen backbone, a linear probe, and the same method without the old
tasks.
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
    MetricsBySplit,
    ModelArchive,
    StoredMetrics,
    keep_statistics,
    metrics_by_split,
    write,
)
from clmethods.checkpoint import fold
from clmethods.checksummed_json import add_checksum
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
from clmethods.config.task_contents import task_title
from clmethods.data.source import DatasetError
from clmethods.data.streams import EVALUATED_SPLITS
from clmethods.determinism import on_device, open_run
from clmethods.methods import METHODS, Predictor, State
from clmethods.readout.statistics import ReadoutStatistics
from clmethods.training.completion import OnEpoch
from clmethods.training.sequence import run_sequence
from clmethods.training.stage import run_stage

COMPARISON_FILE = "extension.json"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Test accuracies of one way to learn the new task, as fractions; None if not applicable."""

    way: str
    new_given: float | None = None
    """On the new task among its own classes."""
    new: float | None = None
    """On the new task among all classes, old and new."""
    old: float | None = None
    """Mean over the old tasks, among all classes that this way knows."""


ROUNDING = 1e-9
"""Difference of two accuracies that counts as a rounding error."""

LARGE_DROP = 0.05
"""Decrease of the test accuracy of an old task, as a fraction, that is reported."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDrop:
    """Old task whose test accuracy the extension decreased by more than `LARGE_DROP`."""

    task: str
    """Title of the task."""
    readout: str
    before: float
    after: float


@final
@dataclass(frozen=True, slots=True)
class Extension:
    """Result of `extend_model`."""

    archive: ModelArchive
    comparisons: list[Comparison]
    old_data_error: str | None
    """Reason why the old tasks could not be evaluated; None if they were."""
    drops: list[TaskDrop]
    before: StoredMetrics
    """Metrics of the old model."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionGate:
    """Conditions on the test accuracies of an extended model; None: no condition."""

    max_old_drop: float | None = None
    """Largest decrease of the accuracy of an old task, as a fraction."""
    min_new: float | None = None
    """Smallest accuracy on the new task among all classes, as a fraction."""
    readout: str = "last"
    """Readout whose accuracies count."""

    def failures(self, extension: Extension) -> list[str]:
        """Return one sentence per violated condition. What is unknown is a violation."""
        if self.max_old_drop is None and self.min_new is None:
            return []
        if extension.old_data_error is not None:
            return [f"the accuracies are not known: {extension.old_data_error}"]
        after = extension.archive.metrics()
        names = [readout.readout_id for readout in after.readouts]
        if self.readout not in names:
            return [f"the model has no readout {self.readout}, only {', '.join(names)}"]
        new = after.splits["test"][self.readout]["accuracy"][-1]
        old = extension.before.splits["test"][self.readout]["accuracy"][-1]
        titles = [task_title(group) for group in extension.archive.run.stream.sequence()]
        found: list[str] = []
        for title, was, now in zip(titles, old, new, strict=False):
            if self.max_old_drop is None:
                break
            if was is None or now is None:
                found.append(f"{title}: its accuracy is not known")
            elif was - now > self.max_old_drop + ROUNDING:
                found.append(
                    f"{title} fell from {was:.1%} to {now:.1%}, by more than "
                    f"{100 * self.max_old_drop:.1f} points"
                )
        if self.min_new is not None and (new[-1] is None or new[-1] < self.min_new - ROUNDING):
            shown = "an unknown accuracy" if new[-1] is None else f"{new[-1]:.1%}"
            found.append(f"{titles[-1]} has {shown}, less than {self.min_new:.1%}")
        return found


def extend_model(
    archive: ModelArchive,
    task: NewTask,
    out: Path,
    report: Callable[[str], None] = lambda message: None,
    on_epoch: OnEpoch = lambda stage, done: None,
) -> Extension:
    """Learn `task` on top of a finished model and store both in the new directory `out`.

    If called again after an interruption, it continues where it stopped. Raises `ArchiveError` for
    a model that is not finished or a directory that contains another model, `DatasetError` if the
    new images are missing, and `InvalidConfigError` if the method cannot learn one more task.
    """
    run = extended(archive.run, task)
    before = archive.metrics()
    archive.deltas()  # raises if a stage is missing or damaged, before anything is written
    new = run.stream.groups()[-1].classes
    for split in EVALUATED_SPLITS:  # raises if the new images are missing
        open_run(run)[1].data(new, split)
    extended_archive = ModelArchive.create(out, run, report)
    extended_archive.copy_stages(archive)
    statistics = ReadoutStatistics(archive.statistics())
    old_data_error = None
    try:
        steps = run_sequence(
            run,
            before.readouts,
            extended_archive,
            extended_archive,
            statistics=statistics,
            on_epoch=on_epoch,
        )
        splits = metrics_by_split(run, steps, before.readouts)
    except DatasetError as error:
        old_data_error, splits = str(error), {}
    report("comparing with class means, a linear probe and the method without the old tasks")
    with suppress(DatasetError):  # older model directories have no statistics
        keep_statistics(extended_archive, before.readouts, statistics)
    extended_archive.save_metrics(StoredMetrics(before.readouts, splits))
    comparisons = [
        Comparison(way="the model before", old=_stored_average(before)),
        _evaluate_chain(
            run,
            f"{run.method.kind} on top of it",
            extended_archive.deltas(),
            old_data_error is None,
        ),
        *_alternatives(run, old_data_error is None),
    ]
    write(
        out / COMPARISON_FILE,
        add_checksum({"standings": [asdict(s) for s in comparisons]}, readable=True),
    )
    drops = _drops(run, before, splits)
    return Extension(extended_archive, comparisons, old_data_error, drops, before)


def _drops(run: RunConfig, before: StoredMetrics, after: MetricsBySplit) -> list[TaskDrop]:
    """Return the old tasks whose accuracy has decreased, by readout and in learning order."""
    drops: list[TaskDrop] = []
    for readout, metrics in after.get("test", {}).items():
        old = before.splits.get("test", {}).get(readout)
        if old is None:
            continue
        rows = zip(
            run.stream.sequence(), old["accuracy"][-1], metrics["accuracy"][-1], strict=False
        )
        drops += [
            TaskDrop(task=task_title(group), readout=readout, before=was, after=now)
            for group, was, now in rows
            if was is not None and now is not None and was - now > LARGE_DROP
        ]
    return drops


def _alternatives(run: RunConfig, with_old_data: bool) -> list[Comparison]:
    means = replace(run, method=NearestClassMeanConfig())
    comparisons = [
        _alone(run, "class means on the frozen backbone", NearestClassMeanConfig()),
        _alone(run, "linear probe on the frozen backbone", LoraSequentialConfig(depth=0)),
        _alone(run, f"{run.method.kind} without the old tasks", run.method),
    ]
    if with_old_data:
        deltas: list[State] = []
        for stage in stage_chain(means):
            deltas.append(run_stage(as_trained(means, stage.position), stage, fold(deltas)).delta)
        comparisons[0] = _evaluate_chain(means, comparisons[0].way, deltas, True)
    return comparisons


def _alone(run: RunConfig, way: str, method: MethodConfig) -> Comparison:
    """Train a method on the new task as its first one: it does not know the old classes."""
    run = replace(run, method=method)
    last = stage_chain(run)[-1]
    stage = StageSpec("", None, 0, last.groups, last.task_key, last.effect)
    first = replace(run, stream=replace(run.stream, added_first=True))  # type: ignore[call-arg]
    state = run_stage(first, stage, {}).delta
    return Comparison(way=way, new_given=_accuracies(first, state, 0, (0,), given=True)[0])


def _evaluate_chain(
    run: RunConfig, way: str, deltas: Sequence[State], with_old_data: bool
) -> Comparison:
    """Evaluate the last snapshot of a chain that knows all classes."""
    state, position = fold(deltas), len(deltas) - 1
    given = _accuracies(run, state, position, (-1,), given=True)[0]
    new = _accuracies(run, state, position, (-1,), given=False)[0]
    if not with_old_data:
        return Comparison(way=way, new_given=given, new=new)
    old = _accuracies(run, state, position, range(position), given=False)
    return Comparison(way=way, new_given=given, new=new, old=sum(old) / len(old))


def _accuracies(
    run: RunConfig, state: State, position: int, tasks: Sequence[int], *, given: bool
) -> list[float]:
    """Return test accuracies on some tasks, among their own classes or among all classes."""
    backbone, stream = open_run(run)
    method = METHODS[run.method.kind]
    state = on_device(state, run.train.device)
    predictor: Predictor = method.predictor(run, backbone, state, position, position)
    sequence = run.stream.sequence()
    all_classes = sorted({label for group in sequence for label in group.classes})
    accuracies: list[float] = []
    for task in tasks:
        data = stream.data_of(sequence[task], "test")
        among = torch.tensor(sequence[task].classes if given else all_classes)
        scores: Tensor = predictor.scores(data.images).cpu()
        hits = among[scores[:, among].argmax(dim=1)] == data.labels
        accuracies.append(float(hits.double().mean()))
    return accuracies


def _stored_average(metrics: StoredMetrics) -> float | None:
    value = metrics.splits.get("test", {}).get("last", {}).get("average_accuracy")
    return None if value is None else float(value)
