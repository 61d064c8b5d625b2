"""Images that pass through networks in a stage: once per snapshot, for all readouts."""

from __future__ import annotations

from collections import Counter
from unittest import mock

import pytest
import torch
from torch import Tensor

from clmethods.config import ReadoutConfig
from clmethods.evaluate import Evaluator
from clmethods.methods import Predictor
from tests.clmethods.runs import LORAC, Trained, small_method, tiny_run, train

Forward = tuple[bytes, bytes]
"""A network, by the sum of its weights, and images."""


def readouts(*routings: str) -> list[ReadoutConfig]:
    """Each routing without and with task-adaptive prediction."""
    return [
        ReadoutConfig(routing=routing, tap=tap) for routing in routings for tap in (False, True)
    ]


def forwards(trained: Trained, evaluated: list[ReadoutConfig]) -> list[list[Forward]]:
    """Evaluate the chain stage by stage; return the forward passes of images of every stage."""
    evaluator = Evaluator(trained.run, trained.chain)
    original, stages = Predictor.features, list[list[Forward]]()

    def counted(self: Predictor, images: Tensor) -> Tensor:
        with torch.no_grad():
            weights = torch.stack([w.double().sum() for w in self.network.state_dict().values()])
        name = weights.numpy().tobytes()
        stages[-1] += [(name, image.numpy().tobytes()) for image in images]
        found = original(self, images)
        assert not found.is_inference()
        return found

    with mock.patch.object(Predictor, "features", counted):
        for position in range(len(trained.chain)):
            stages.append([])
            evaluator.counts(position, trained.state(position), evaluated)
    return stages


def images(trained: Trained, *splits: str) -> int:
    """Images of all tasks."""
    return sum(len(trained.data(split=split)) for split in splits)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(tiny_run(LORAC))


def test_no_image_passes_through_a_network_twice(trained: Trained) -> None:
    stages = forwards(trained, readouts("last", "instance", "oracle"))
    repeated = Counter(forward for stage in stages for forward in stage)
    assert max(repeated.values()) == 1
    assert sum(repeated.values()) > 0


def test_the_number_of_forwards_of_every_stage(trained: Trained) -> None:
    """The evaluated images of all tasks under the new snapshot; statistics of the new task.

    With `oracle`, old tasks have the features of their own snapshots, which are kept.
    """
    evaluated = images(trained, "validation", "test")
    own = [len(trained.data(position)) for position in range(len(trained.chain))]
    stages = [len(stage) for stage in forwards(trained, readouts("last", "oracle"))]
    # Heads are aligned from the second task on, with the statistics of the first task, too.
    assert stages == [evaluated, evaluated + own[0] + own[1], evaluated + own[2]]
    last = [ReadoutConfig(routing="last")]
    assert [len(stage) for stage in forwards(trained, last)] == [evaluated] * len(own)


def test_snapshots_that_later_tasks_change_serve_all_heads() -> None:
    """Each stage computes their features anew, once for the readouts with and without a head."""
    trained = train(tiny_run(small_method("lorac_ipc", module_weights="live")))
    both = forwards(trained, readouts("oracle"))
    for stage in both:
        assert max(Counter(stage).values(), default=1) == 1
    one = forwards(trained, [ReadoutConfig(routing="oracle")])
    own = [len(trained.data(position)) for position in range(len(trained.chain))]
    extra = [len(a) - len(b) for a, b in zip(both, one, strict=True)]
    assert extra == [0, own[0] + own[1], own[2]]
