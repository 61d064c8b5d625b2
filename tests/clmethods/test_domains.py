"""Domain-incremental streams: the same classes come back under other conditions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch

from clmethods.config import (
    METHOD_CONFIGS,
    InvalidConfigError,
    JointLoraConfig,
    LoracIpcConfig,
    NewTask,
    ReadoutConfig,
    RunConfig,
    SequentialFinetuningConfig,
    StreamConfig,
    partition_id,
    stage_chain,
)
from clmethods.config.extension import extended
from clmethods.determinism import open_run
from clmethods.evaluate import evaluate_stage
from clmethods.methods import METHODS
from clmethods.training.sequence import accuracy_matrix, run_sequence
from clmethods.training.stage import run_stage
from tests.clmethods.runs import differences, small_method, tiny_run, train

STREAM = StreamConfig(dataset="digits-dil", limit=3)
INSTANCE = ReadoutConfig(routing="instance", metric="cosine")
HEAD_LOSSES: tuple[Literal["local", "global"], ...] = ("local", "global")
LORAC = LoracIpcConfig(rank=2, importance_threshold=0.2)


def test_a_run_over_domains_fills_the_matrix_of_its_tasks() -> None:
    run = tiny_run(LORAC, replace(STREAM, task_order=(2, 0, 3, 1)))
    steps = run_sequence(run, [ReadoutConfig(), INSTANCE])
    for readout in (ReadoutConfig(), INSTANCE):
        matrix = accuracy_matrix(run, steps, readout.readout_id)
        for row, accuracies in enumerate(matrix):
            assert [math.isnan(a) for a in accuracies] == [column > row for column in range(4)]
    counts = steps[-1].counts[INSTANCE.readout_id]
    rows = [(c.split, c.task, c.class_id) for c in counts]
    assert len(rows) == len(set(rows)) == 2 * 4 * 10  # every class once in every domain
    assert all(c.n == 3 and c.correct is not None for c in counts)
    # All tasks have the same ten classes, so a given task identity adds no information.
    assert all(c.correct == c.correct_task_given for c in steps[-1].counts["last"])


def test_the_rows_of_the_head_go_on_from_domain_to_domain() -> None:
    trained = train(tiny_run(LORAC, STREAM), until=1)
    first, second = (outcome.delta["head.weight"] for outcome in trained.outcomes)
    assert bool((first != second).any(dim=1).all())


def test_tasks_of_the_same_labels_have_keys_of_their_own() -> None:
    run = tiny_run(LORAC, STREAM)
    keys = [stage.task_key for stage in stage_chain(run)]
    assert len(set(keys)) == 4
    turned = replace(run, stream=replace(STREAM, task_order=(3, 2, 1, 0)))
    assert [stage.task_key for stage in stage_chain(turned)] == keys[::-1]
    assert stage_chain(turned)[0].key != stage_chain(run)[0].key
    classes = replace(run, stream=StreamConfig(dataset="digits", tasks=1, limit=3))
    assert partition_id(classes) != partition_id(run)


def test_a_joint_method_sees_every_domain() -> None:
    run = tiny_run(JointLoraConfig(rank=2), STREAM, epochs=1)
    (stage,) = stage_chain(run)
    assert stage.classes == tuple(range(10))
    data = open_run(run)[1].data_of_all(stage.groups, "train")
    assert len(data) == 4 * 10 * 3
    assert data.labels.tolist() == sorted(data.labels.tolist())
    assert torch.equal(data.images, open_run(run)[1].data(stage.classes, "train").images)


def test_where_every_class_is_known_both_losses_are_one() -> None:
    """From the first domain on all classes are seen, so the global loss adds none."""
    local, everything = (
        train(tiny_run(SequentialFinetuningConfig(head_loss=loss), STREAM, epochs=1), until=1)
        for loss in HEAD_LOSSES
    )
    assert differences(local.deltas[1], everything.deltas[1]) == []


@pytest.mark.parametrize("kind", sorted(METHODS))
def test_a_method_takes_classes_again_or_says_that_it_cannot(kind: str) -> None:
    """Whoever says it can is run over two domains and read after each."""
    method = small_method(kind)
    if not method.RECURRING_CLASSES:
        with pytest.raises(InvalidConfigError) as found:
            RunConfig(stream=STREAM, method=method)
        message = str(found.value)
        assert message.startswith(f"method.kind: got {kind!r}, allowed: one of ['")
        assert "'lorac_ipc'" in message
        assert "The tasks of digits-dil share their classes." in message
        return
    trained = train(tiny_run(method, STREAM, epochs=1), until=1)
    readouts = [ReadoutConfig()]
    for position in range(len(trained.outcomes)):
        found_counts = evaluate_stage(
            trained.run, trained.chain, position, trained.state(position), readouts
        )
        rows = [c for c in found_counts["last"] if c.split == "test" and c.seen]
        seen = 4 if method.ORDER_FREE else position + 1
        assert len(rows) == 10 * seen
        assert all(c.n == 3 and c.correct is not None for c in rows)


def test_the_methods_that_keep_statistics_of_a_class_take_it_once() -> None:
    """They overwrite what they keep of a class, so a second domain would erase the first."""
    refusing = {kind for kind, c in METHOD_CONFIGS.items() if not c.RECURRING_CLASSES}
    assert refusing == {"nearest_class_mean", "ranpac", "slca", "lwf"}


def test_a_class_task_can_follow_the_domains() -> None:
    run = extended(
        train(tiny_run(LORAC, STREAM), until=0).run,
        NewTask(stream=StreamConfig(dataset="glyph100", limit=3), classes=(4, 9)),
    )
    chain = stage_chain(run)
    assert [stage.groups[0].domain for stage in chain] == [
        "plain",
        "inverted",
        "rotated",
        "noisy",
        "",
    ]
    stream = open_run(run)[1]
    assert stream.data_of(chain[2].groups[0], "test").labels.tolist() == [
        c for c in range(10) for _ in range(3)
    ]
    assert stream.data_of(chain[4].groups[0], "test").labels.tolist() == [10] * 3 + [11] * 3


@pytest.mark.parametrize("kind", sorted(METHODS))
def test_a_batch_of_one_image_trains(kind: str) -> None:
    """And so does the last batch, which may hold one image only."""
    for size in (1, 7):
        run = tiny_run(
            small_method(kind), StreamConfig(tasks=5, limit=4), batch_size=size, epochs=1
        )
        outcome = run_stage(run, stage_chain(run)[0], {})
        assert all(bool(tensor.isfinite().all()) for tensor in outcome.delta.values())
