"""Statistics that readouts keep, and heads that are aligned with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.checkpoint import state_from_bytes, state_to_bytes
from clmethods.config import (
    LoraSequentialConfig,
    ReadoutConfig,
    StreamConfig,
)
from clmethods.config.stream import TaskGroup
from clmethods.data.streams import Split, TaskData
from clmethods.evaluate import Evaluator
from clmethods.evaluate.chain_values import ChainValues
from clmethods.methods import base as methods_base
from clmethods.nn.backbone import features
from clmethods.readout.gaussians import fit
from clmethods.readout.statistics import ReadoutStatistics
from tests.clmethods.readouts import (
    CHAIN,
    CORR,
    INSTANCE,
    LAST,
    READOUTS,
    SHARED,
    TAP,
    counted,
)
from tests.clmethods.runs import Trained, differences, same_bits, tiny_run, train


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

    def counting(network: torch.nn.Module, pixels: Tensor) -> Tensor:
        forwarded.append(len(pixels))
        return features(network, pixels)

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
