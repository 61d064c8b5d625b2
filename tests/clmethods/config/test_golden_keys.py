"""Ids and stage keys are what they were: with other ones, all that is stored is trained again.

A change of these digests is a change of `STAGE_FORMAT`, of a method's `VERSION` or of a default.
"""

from __future__ import annotations

import hashlib

import pytest

from clmethods.config import (
    METHOD_CONFIGS,
    BackboneConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
    stage_chain,
)

DIGESTS = {
    "lorac_ipc": "f75ac7531b96148c",
    "lora_sequential": "534d6ed085d09f4e",
    "lora_merge": "f2baba925ccec909",
    "o_lora": "a4e6a0ce95d926a0",
    "inflora": "0a2698d512172d72",
    "sd_lora": "8a9ddc63037f4b5f",
    "sequential_finetuning": "fbc249510f7cd038",
    "ewc": "24c6d0304e14d082",
    "lwf": "0be2eb2eae548a17",
    "slca": "bf818651e7fb000e",
    "linear_probe": "6b0694b188d4f81b",
    "nearest_class_mean": "d1686da19c123a3f",
    "ranpac": "f08a2524be1338c4",
    "joint_full": "e2a3b9827f38fb50",
    "joint_lora": "aa9498485690e190",
    "joint_linear": "efc78de59f3807d2",
}
"""Of two streams, where the method takes both, and two ways of training, by method."""


@pytest.mark.parametrize("kind", sorted(DIGESTS))
def test_ids_and_keys_of_a_method(kind: str) -> None:
    found = hashlib.sha256()
    method = METHOD_CONFIGS[kind]()
    streams = [StreamConfig(tasks=5, task_order=(4, 0, 3, 1, 2), class_order_seed=1)]
    if method.RECURRING_CLASSES:
        streams.append(StreamConfig(dataset="digits-dil", validation_fraction=0.5))
    odd = TrainConfig(
        lr_first_task=1.0, schedule="constant", optimizer="adamw", augment="crop_flip"
    )
    backbone = BackboneConfig(name="test_vit", weights="random", image_size=32, pooling="avg")
    for stream in streams:
        for train in (TrainConfig(), odd):
            run = RunConfig(backbone=backbone, stream=stream, method=method, train=train, seed=7)
            ids = [run.trial_id, run.config_id, run.order_id]
            for text in [*ids, *(stage.key for stage in stage_chain(run))]:
                found.update(text.encode())
    assert found.hexdigest()[:16] == DIGESTS[kind]
