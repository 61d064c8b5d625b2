"""Counts against predictions made image by image; routing invariants I30 and I31."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.config import (
    InvalidConfigError,
    LoraSequentialConfig,
    MethodConfig,
    NearestClassMeanConfig,
    ReadoutConfig,
    SequentialFinetuningConfig,
    StreamConfig,
)
from clmethods.config.readout import GAUSSIAN_METRICS
from clmethods.data.streams import Split
from clmethods.determinism import open_run
from clmethods.evaluate import Evaluator
from clmethods.readout.gaussians import Gaussians, fit
from clmethods.readout.task_id import infer_tasks
from tests.clmethods.readouts import (
    BATCH,
    CHAIN,
    CORR,
    EUCLID,
    INSTANCE,
    LAST,
    ORACLE,
    READOUTS,
    counted,
)
from tests.clmethods.runs import Trained, copied, differences, tiny_run, train


def class_means(trained: Trained, position: int) -> dict[int, Tensor]:
    """Mean unit feature of every class learned up to `position`, under the first snapshot."""
    first = trained.predictor(position, 0)
    means: dict[int, Tensor] = {}
    for stage in trained.chain[: position + 1]:
        data = trained.data(stage.position)
        unit = F.normalize(first.features(data.images), dim=1)
        means |= {c: unit[data.labels == c].mean(dim=0) for c in stage.classes}
    return means


def statistics(trained: Trained, position: int, readout: ReadoutConfig) -> list[Gaussians]:
    """Of every task learned up to `position`, for a readout that infers tasks."""
    if readout.task_id_kind is None:
        return []
    first = trained.predictor(position, 0)
    data = [trained.data(place) for place in range(position + 1)]
    return [
        fit(first.features(d.images), d.labels, readout.task_id_kind, trained.run.seed)
        for d in data
    ]


def nearest_class(means: dict[int, Tensor], feature: Tensor, metric: str) -> int:
    unit = F.normalize(feature, dim=0)

    def distance(label: int) -> float:
        mean = means[label]
        if metric == "cosine":
            return -float(unit @ F.normalize(mean, dim=0))
        return float((unit - mean).norm())

    return min(means, key=distance)


def one_by_one(
    trained: Trained, position: int, readout: ReadoutConfig, split: Split
) -> list[tuple[int, int, int | None]]:
    """(correct, correct with the task given, routed to its task) by class id, plainly."""
    snapshots = [trained.predictor(position, snapshot) for snapshot in range(position + 1)]
    means = class_means(trained, position)
    tasks = statistics(trained, position, readout)
    head = Evaluator(trained.run, trained.chain).aligned_head(
        position, trained.state(position), readout
    )
    place = {c: stage.position for stage in trained.chain for c in stage.classes}
    seen = [c for c in range(10) if place[c] <= position]
    data = trained.data(split=split)
    hits = {c: [0, 0, 0] for c in range(10)}
    for image, label in zip(data.images.split(1), data.labels.tolist(), strict=True):
        routed = position
        if label in seen and readout.routing == "oracle":
            routed = place[label]
        if label in seen and readout.routing == "instance":
            feature = snapshots[0].features(image)
            routed = (
                int(infer_tasks(readout, tasks, feature))
                if readout.metric in GAUSSIAN_METRICS
                else place[nearest_class(means, feature[0], readout.metric)]
            )
        found = snapshots[routed].features(image)
        logits = snapshots[routed].classify(found) if head is None else F.linear(found, *head)
        scores = logits[0].tolist()
        own = trained.chain[place[label]].classes
        hits[label][0] += max(seen, key=scores.__getitem__) == label
        hits[label][1] += max(own, key=scores.__getitem__) == label
        hits[label][2] += routed == place[label]
    inferred = readout.routing == "instance"
    return [
        (
            hits[c][0] if c in seen else None,
            hits[c][1],
            hits[c][2] if c in seen and inferred else None,
        )
        for c in range(10)
    ]


@pytest.mark.parametrize(
    "readout", [r for r in READOUTS if r != BATCH], ids=lambda r: r.readout_id
)
@pytest.mark.parametrize("position", [1, 4])
def test_i30_grouped_counts_are_those_of_images_one_by_one(
    lorac: Trained, position: int, readout: ReadoutConfig
) -> None:
    rows = counted(lorac, position, [readout])[readout.readout_id]
    for split in ("validation", "test"):
        mine = sorted((row for row in rows if row.split == split), key=lambda row: row.class_id)
        assert [row.class_id for row in mine] == list(range(10))
        found = [(row.correct, row.correct_task_given, row.task_id_correct) for row in mine]
        assert found == one_by_one(lorac, position, readout, split)
        assert all(row.n == 6 for row in mine)


def test_the_routings_differ_here(lorac: Trained) -> None:
    """On a chain where all snapshots predict alike, the tests above would prove nothing."""
    counts = counted(lorac, 4, READOUTS)
    last, instance, euclid, oracle = (counts[r.readout_id] for r in READOUTS[:4])
    assert [row.correct for row in last] != [row.correct for row in oracle]
    assert [row.correct for row in instance] != [row.correct for row in oracle]
    assert {row.task_id_correct for row in instance} > {0}
    assert [row.task_id_correct for row in instance] != [row.n for row in instance]
    assert [replace(r, task_id_correct=None) for r in euclid] != last
    del counts[EUCLID.readout_id]  # the angle says the same here
    assert len({str(rows) for rows in counts.values()}) == len(READOUTS) - 1


def test_i30_at_the_first_task_every_routing_is_the_last_snapshot(lorac: Trained) -> None:
    counts = counted(lorac, 0, READOUTS)
    plain = [replace(row, task_id_correct=None) for row in counts["last"]]
    for readout in READOUTS[1:]:
        rows = counts[readout.readout_id]
        assert [replace(row, task_id_correct=None) for row in rows] == plain
        if readout.infers:
            assert all(row.task_id_correct == row.n for row in rows if row.seen)


@pytest.mark.parametrize("position", [0, 2])
def test_i30_predictions_stay_within_the_classes_seen(lorac: Trained, position: int) -> None:
    state = copied(lorac.state(position))
    seen = {c for stage in lorac.chain[: position + 1] for c in stage.classes}
    state["head.bias"][[c for c in range(10) if c not in seen]] += 1e6
    usual, shouted = counted(lorac, position, READOUTS), counted(lorac, position, READOUTS, state)
    for name, rows in usual.items():
        mine = [row for row in rows if row.seen]
        assert {row.class_id for row in mine} == seen
        assert [row for row in shouted[name] if row.seen] == mine
        assert all(row.correct is None for row in rows if not row.seen)


def test_i31_with_the_true_task_given_old_tasks_never_change(lorac: Trained) -> None:
    """Routed by the oracle, within the classes of the task, image by image."""
    for task in range(5):
        own = torch.tensor(lorac.chain[task].classes)
        images = lorac.data(task, split="test").images
        then = lorac.predictor(task, task).scores(images)[:, own].argmax(dim=1)
        for later in range(task, 5):
            now = lorac.predictor(later, task).scores(images)[:, own].argmax(dim=1)
            assert torch.equal(now, then)


def test_i31_and_so_the_counts_of_a_task_stay_what_they_were_when_it_was_learned(
    lorac: Trained,
) -> None:
    first: dict[tuple[str, int], int] = {}
    for position in range(5):
        for row in counted(lorac, position, [ORACLE])["oracle"]:
            if row.seen:
                place = (row.split, row.class_id)
                assert row.correct_task_given == first.setdefault(place, row.correct_task_given)
    assert len(first) == 20


def test_readouts_leave_the_training_state_alone(lorac: Trained) -> None:
    state = lorac.state(2)
    before, weights = copied(state), copied(lorac.backbone.tensors)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    counted(lorac, 2, READOUTS, state)
    assert torch.equal(torch.rand(1), expected)  # nor is the global generator touched
    assert differences(before, state) == []
    assert differences(weights, lorac.backbone.tensors) == []


def test_a_readout_does_not_depend_on_its_company(lorac: Trained) -> None:
    together = counted(lorac, 3, READOUTS)
    for readout in READOUTS:
        assert counted(lorac, 3, [readout])[readout.readout_id] == together[readout.readout_id]


def test_without_validation_images_only_the_test_split_is_counted() -> None:
    stream = StreamConfig(tasks=3, limit=4, validation_fraction=0.0)
    trained = train(tiny_run(NearestClassMeanConfig(), stream), until=0)
    assert {row.split for row in counted(trained, 0, [LAST])["last"]} == {"test"}


def test_rows_name_the_group_and_not_its_position(lorac: Trained) -> None:
    groups = {c: g.index for g in lorac.run.stream.groups() for c in g.classes}
    for row in counted(lorac, 1, [LAST])["last"]:
        assert row.task == groups[row.class_id]
        assert row.seen == (row.task in lorac.run.stream.order[:2])


def test_a_batch_is_read_through_the_snapshot_that_most_of_it_votes_for(lorac: Trained) -> None:
    """By hand: images in the order of the dataset, five at a time, within one task's loader."""
    rows = {(r.split, r.class_id): r for r in counted(lorac, 4, [BATCH])[BATCH.readout_id]}
    instance = {(r.split, r.class_id): r for r in counted(lorac, 4, [CORR])[CORR.readout_id]}
    tasks = statistics(lorac, 4, BATCH)
    snapshots = [lorac.predictor(4, snapshot) for snapshot in range(5)]
    stream = open_run(lorac.run)[1]
    for stage in lorac.chain:
        data = lorac.data(stage.position, split="test")
        places = stream.places(stage.classes, "test").tolist()
        order = sorted(range(len(places)), key=places.__getitem__)
        inferred = infer_tasks(BATCH, tasks, snapshots[0].features(data.images)).tolist()
        correct = dict.fromkeys(stage.classes, 0)
        for start in range(0, len(order), 5):
            batch = order[start : start + 5]
            votes = [inferred[i] for i in batch]
            winner = max(sorted(set(votes)), key=votes.count)
            predicted = snapshots[winner].scores(data.images[batch]).argmax(dim=1)
            for label, guess in zip(data.labels[batch].tolist(), predicted.tolist(), strict=True):
                correct[label] += label == guess
        for label in stage.classes:
            row = rows["test", label]
            assert row.correct == correct[label]
            # accuracy of the inferred task is that of the images, not of the votes
            assert row.task_id_correct == instance["test", label].task_id_correct


@pytest.mark.parametrize(
    ("method", "readout", "message"),
    [
        (LoraSequentialConfig(), INSTANCE, "routing: got 'instance', allowed: one of ['last']"),
        (NearestClassMeanConfig(), CHAIN, "tap: got True, allowed: false for nearest_class_mean"),
        (
            SequentialFinetuningConfig(head_loss="global"),
            CHAIN,
            "tap_restore: got False, allowed: true for sequential_finetuning on this stream",
        ),
    ],
)
def test_a_readout_that_the_method_does_not_allow_is_refused(
    method: MethodConfig, readout: ReadoutConfig, message: str
) -> None:
    run = tiny_run(method)
    with pytest.raises(InvalidConfigError) as refused:
        Evaluator(run, ()).counts(0, {}, [readout])
    assert message in str(refused.value)
    assert not replace(CHAIN, tap_restore=True).issues_in(tiny_run(SequentialFinetuningConfig()))
