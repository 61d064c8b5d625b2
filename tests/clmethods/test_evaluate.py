"""Counts against predictions made image by image; routing invariants I30 and I31."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.checkpoint import state_from_bytes, state_to_bytes
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
from clmethods.config.stream import TaskGroup
from clmethods.data.streams import Split, TaskData
from clmethods.determinism import open_run
from clmethods.evaluate import EvalCount, Evaluator, evaluate_stage
from clmethods.evaluate.chain_values import ChainValues
from clmethods.methods import State
from clmethods.methods import base as methods_base
from clmethods.readout.gaussians import Gaussians, fit
from clmethods.readout.statistics import ReadoutStatistics
from clmethods.readout.task_id import infer_tasks
from tests.clmethods.runs import Trained, copied, differences, same_bits, tiny_run, train

LAST, ORACLE = ReadoutConfig(), ReadoutConfig(routing="oracle")
INSTANCE = ReadoutConfig(routing="instance")
EUCLID = ReadoutConfig(routing="instance", metric="euclid")
CORR = ReadoutConfig(routing="instance", metric="corr", clusters=2)
SHARED = ReadoutConfig(routing="instance", metric="shared_cov", clusters=1)
BATCH = ReadoutConfig(routing="batch", metric="corr", clusters=2, batch_size=5)
TAP = ReadoutConfig(routing="instance", tap=True, tap_epochs=2, tap_clusters=2)
CHAIN = replace(TAP, routing="last", tap_restore=False, tap_storage="covariance", tap_clusters=10)
READOUTS = [LAST, INSTANCE, EUCLID, ORACLE, CORR, SHARED, BATCH, TAP, CHAIN]


def counted(
    trained: Trained,
    position: int,
    readouts: Sequence[ReadoutConfig],
    state: State | None = None,
) -> dict[str, list[EvalCount]]:
    found = trained.state(position) if state is None else state
    return evaluate_stage(trained.run, trained.chain, position, found, readouts)


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


def test_i32_without_epochs_there_is_no_alignment(lorac: Trained) -> None:
    idle = replace(TAP, tap_epochs=0)
    assert (idle.readout_id, idle.fingerprint) == (INSTANCE.readout_id, INSTANCE.fingerprint)
    evaluator = Evaluator(lorac.run, lorac.chain)
    assert evaluator.aligned_head(4, lorac.state(4), idle) is None
    assert evaluator.aligned_head(0, lorac.state(0), TAP) is None


def test_i32_the_aligned_head_differs_in_rows_of_classes_seen_alone(lorac: Trained) -> None:
    state = lorac.state(2)
    seen = [c for stage in lorac.chain[:3] for c in stage.classes]
    unseen = [c for c in range(10) if c not in seen]
    for readout in (TAP, CHAIN):
        head = Evaluator(lorac.run, lorac.chain).aligned_head(2, state, readout)
        assert head is not None
        assert same_bits(head[0][unseen], state["head.weight"][unseen])
        assert not torch.isclose(head[0][seen], state["head.weight"][seen]).all(dim=1).any()


def test_what_an_aligned_head_draws_depends_on_the_seed_of_the_run(lorac: Trained) -> None:
    other = replace(lorac.run, seed=lorac.run.seed + 1)
    heads = [
        Evaluator(run, lorac.chain).aligned_head(2, lorac.state(2), TAP)
        for run in (lorac.run, lorac.run, other)
    ]
    weights = [head[0] for head in heads if head is not None]
    assert same_bits(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_heads_of_a_chain_go_on_from_one_another(lorac: Trained) -> None:
    """Walked in order and reached at once; restoring starts anew and ends elsewhere."""
    walked = Evaluator(lorac.run, lorac.chain)
    heads = [walked.aligned_head(p, lorac.state(p), CHAIN) for p in range(4)]
    reached = Evaluator(lorac.run, lorac.chain).aligned_head(3, lorac.state(3), CHAIN)
    anew = Evaluator(lorac.run, lorac.chain).aligned_head(
        3, lorac.state(3), replace(CHAIN, tap_restore=True)
    )
    assert heads[3] is not None
    assert reached is not None
    assert anew is not None
    assert same_bits(heads[3][0], reached[0])
    assert not torch.equal(heads[3][0], anew[0])
    second = Evaluator(lorac.run, lorac.chain).aligned_head(
        1, lorac.state(1), replace(CHAIN, tap_restore=True)
    )
    assert heads[1] is not None
    assert second is not None
    assert same_bits(heads[1][0], second[0])  # no earlier head to start from


def test_i33_statistics_of_old_classes_stay_as_they_are(lorac: Trained) -> None:
    early, late = (
        Evaluator(lorac.run, lorac.chain).statistics_for(p, lorac.state(p), READOUTS)
        for p in (1, 4)
    )
    assert early.keys() < late.keys()
    assert differences(early, {name: late[name] for name in early}) == []


def test_all_readouts_of_a_stage_share_one_pass_of_every_snapshot(
    lorac: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in images that go through a network, over a whole chain."""
    forwarded: list[int] = []
    usual = methods_base.features

    def counting(network: torch.nn.Module, pixels: Tensor) -> Tensor:
        forwarded.append(len(pixels))
        return usual(network, pixels)

    monkeypatch.setattr(methods_base, "features", counting)
    images = {split: len(lorac.data(split=split)) for split in ("train", "validation", "test")}
    evaluated = images["validation"] + images["test"]

    def spent(readouts: Sequence[ReadoutConfig]) -> int:
        forwarded.clear()
        evaluator = Evaluator(lorac.run, lorac.chain)
        for position in range(5):
            evaluator.counts(position, lorac.state(position), readouts)
        return sum(forwarded)

    assert spent([LAST]) == 5 * evaluated
    # each snapshot once over all evaluated images; the training images once under the first and
    # once under their own, which for the first task is the same
    first_task = len(lorac.data(0))
    assert spent(READOUTS) == 5 * evaluated + 2 * images["train"] - first_task
    assert spent([CORR, SHARED]) <= 5 * evaluated + images["train"]


def test_statistics_stand_in_for_old_images(
    lorac: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`extend` reads stored statistics of old tasks and only the images of the new task."""
    readouts = [INSTANCE, CORR, SHARED, TAP, CHAIN]
    expected = counted(lorac, 4, readouts)
    old = Evaluator(lorac.run, lorac.chain).statistics_for(3, lorac.state(3), readouts)
    stored = ReadoutStatistics(state_from_bytes(state_to_bytes(old)))
    usual = ChainValues.data

    def only_new(self: ChainValues, split: Split, group: TaskGroup) -> TaskData:
        assert split != "train" or group in lorac.chain[4].groups
        return usual(self, split, group)

    monkeypatch.setattr(ChainValues, "data", only_new)
    evaluator = Evaluator(lorac.run, lorac.chain, statistics=stored)
    assert evaluator.counts(4, lorac.state(4), readouts) == expected


@pytest.fixture(scope="module")
def plain_lora() -> Trained:
    """No snapshots: earlier networks are gone with their states."""
    return train(tiny_run(LoraSequentialConfig(rank=2), StreamConfig(tasks=3, limit=4)))


def test_a_method_without_snapshots_is_aligned_with_statistics_of_its_earlier_states(
    plain_lora: Trained,
) -> None:
    run, chain, state = plain_lora.run, plain_lora.chain, plain_lora.state
    readouts = [replace(CHAIN, tap_restore=restore) for restore in (True, False)]
    walked = Evaluator(run, chain)
    in_order = [walked.counts(p, state(p), readouts) for p in range(3)]
    reached = Evaluator(run, chain, state).counts(2, state(2), readouts)
    assert reached == in_order[2]
    with pytest.raises(LookupError, match="lora_sequential keeps no snapshots"):
        Evaluator(run, chain).counts(2, state(2), readouts)
    then = plain_lora.predictor(0, 0).features(plain_lora.data(0).images)
    kind = readouts[0].tap_kind
    assert kind is not None
    expected = fit(then, plain_lora.data(0).labels, kind, run.seed)
    found = walked.statistics.get(kind, 0)
    assert found is not None
    assert differences(found.tensors(), expected.tensors()) == []


def test_features_of_frozen_networks_do_not_drift(lorac: Trained, plain_lora: Trained) -> None:
    drift = Evaluator(lorac.run, lorac.chain).feature_drift(4, lorac.state(4))
    old = [group for stage in lorac.chain[:4] for group in stage.groups]
    assert drift.keys() == {group.index for group in old}
    for place, group in enumerate(old):
        images = lorac.data(place, split="test").images
        then, now = (lorac.predictor(4, s).features(images) for s in (place, 4))
        expected = 1 - F.cosine_similarity(then, now).mean()
        assert drift[group.index] == pytest.approx(float(expected), abs=1e-9)
    run, chain, state = plain_lora.run, plain_lora.chain, plain_lora.state
    assert min(Evaluator(run, chain, state).feature_drift(2, state(2)).values()) > 0
    still = train(tiny_run(LoraSequentialConfig(rank=2, depth=0), plain_lora.run.stream))
    quiet = Evaluator(still.run, still.chain, still.state).feature_drift(2, still.state(2))
    assert max(quiet.values()) < 1e-12


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
