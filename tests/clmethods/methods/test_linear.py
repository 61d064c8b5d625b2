"""Linear probes: the head alone, and nothing else, moves."""

from __future__ import annotations

from dataclasses import replace

from clmethods.config import JointLinearConfig, LinearProbeConfig, LoraSequentialConfig
from clmethods.nn.backbone import features
from tests.clmethods.runs import STREAM, differences, same_bits, tiny_run, train


def test_i13_it_is_a_lora_method_without_modules() -> None:
    probe = train(tiny_run(LinearProbeConfig()))
    other = train(tiny_run(LoraSequentialConfig(depth=0)))
    assert differences(probe.state(2), other.state(2)) == []
    assert probe.state(2).keys() == {"head.weight", "head.bias"}
    assert probe.outcomes[0].method.trainable_parameters == 4 * (16 + 1)


def test_the_features_are_those_of_the_frozen_backbone() -> None:
    trained = train(tiny_run(LinearProbeConfig()))
    images = trained.data(split="test").images
    plain = features(trained.backbone.build(), trained.backbone.preprocess(images))
    found = trained.predictor(2, 2)
    assert same_bits(found.features(images), plain)
    state = trained.state(2)
    assert same_bits(found.scores(images), plain @ state["head.weight"].T + state["head.bias"])


def test_the_joint_one_is_a_single_stage_over_all_classes_in_any_order() -> None:
    natural = train(tiny_run(JointLinearConfig()))
    assert [stage.classes for stage in natural.chain] == [tuple(range(10))]
    other = train(tiny_run(JointLinearConfig(), replace(STREAM, task_order=(2, 0, 1))))
    assert differences(natural.state(0), other.state(0)) == []
    one_task = replace(STREAM, tasks=1)
    probe = train(tiny_run(LinearProbeConfig(), one_task))
    assert differences(natural.state(0), probe.state(0)) == []
