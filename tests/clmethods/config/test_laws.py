"""Values that a configuration refuses, whoever builds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clmethods.config import (
    BackboneConfig,
    EwcConfig,
    InfLoraConfig,
    InvalidConfigError,
    JointFullConfig,
    LoracIpcConfig,
    LoraSequentialConfig,
    LwfConfig,
    OLoraConfig,
    RanpacConfig,
    ReadoutConfig,
    RunConfig,
    SdLoraConfig,
    SequentialFinetuningConfig,
    SlcaConfig,
    StreamConfig,
    TrainConfig,
)

CASES: list[tuple[Callable[..., object], dict[str, Any], str, str]] = [
    (LoracIpcConfig, {"rank": 0}, "rank", "1 or more"),
    (LoracIpcConfig, {"lora_alpha": 0.0}, "lora_alpha", "greater than 0"),
    (LoracIpcConfig, {"sites": ()}, "sites", "one or more of"),
    (LoracIpcConfig, {"sites": ("q", "q")}, "sites", "each once"),
    (LoracIpcConfig, {"depth": -1}, "depth", "0 or more"),
    (LoracIpcConfig, {"importance_threshold": -0.1}, "importance_threshold", "from 0 to 1"),
    (LoracIpcConfig, {"importance_threshold": 1.01}, "importance_threshold", "from 0 to 1"),
    (LoracIpcConfig, {"ipc_beta1": 0.0}, "ipc_beta1", "every score is 0"),
    (LoracIpcConfig, {"ipc_beta2": 1.0}, "ipc_beta2", "below 1"),
    (LoracIpcConfig, {"ipc_beta1": 0.0, "ipc_stat": "ema_unbiased"}, "ipc_beta1", "every score"),
    (
        LoracIpcConfig,
        {"ipc_beta1": 0.97, "ipc_stat": "sensitivity", "ipc_window": 9},
        "ipc_window",
        "Older samples would still have weight",
    ),
    (LoracIpcConfig, {"ipc_window": 0, "ipc_stat": "epoch_mean"}, "ipc_window", "1 or more"),
    (LoracIpcConfig, {"omega_pull": -0.1}, "omega_pull", "0 or more"),
    (LoracIpcConfig, {"omega_decay": 0.0}, "omega_decay", "greater than 0"),
    (LoracIpcConfig, {"omega_decay": 1.5}, "omega_decay", "at most 1"),
    (
        LoracIpcConfig,
        {"omega_share": "task", "module_weights": "direction_magnitude"},
        "omega_share",
        "Modules of different norm",
    ),
    (
        LoracIpcConfig,
        {"omega_current": True, "module_weights": "normalised"},
        "omega_current",
        "It requires module_weights: learned, learned_pull, decayed or live.",
    ),
    (LoracIpcConfig, {"ipc_every": 0}, "ipc_every", "1 or more"),
    (LoracIpcConfig, {"ipc_window": 50}, "ipc_window", "Raise ipc_window or lower ipc_beta"),
    (LoracIpcConfig, {"ortho_lambda": -1.0}, "ortho_lambda", "0 or more"),
    (LoracIpcConfig, {"omega_lr_scale": -1.0}, "omega_lr_scale", "0 or more"),
    (LoraSequentialConfig, {"rank": -3}, "rank", "1 or more"),
    (OLoraConfig, {"olora_pow": 3}, "olora_pow", "1 or 2"),
    (OLoraConfig, {"lambda1": -1.0}, "lambda1", "0 or more"),
    (OLoraConfig, {"lambda2": float("inf")}, "lambda2", "a finite number"),
    (InfLoraConfig, {"lambda_e": 0.0}, "lambda_e", "above 0, at most 1"),
    (InfLoraConfig, {"rank": 0}, "rank", "1 or more"),
    (SdLoraConfig, {"magnitude_init": 0.0}, "magnitude_init", "greater than 0"),
    (SdLoraConfig, {"magnitude_lr_scale": -1.0}, "magnitude_lr_scale", "0 or more"),
    (SequentialFinetuningConfig, {"body_lr_scale": -1.0}, "body_lr_scale", "0 or more"),
    (JointFullConfig, {"body_lr_scale": -1.0}, "body_lr_scale", "0 or more"),
    (EwcConfig, {"ewc_lambda": -1.0}, "ewc_lambda", "0 or more"),
    (EwcConfig, {"ewc_gamma": 1.5}, "ewc_gamma", "from 0 to 1"),
    (EwcConfig, {"body_lr_scale": -1.0}, "body_lr_scale", "0 or more"),
    (LwfConfig, {"lwf_alpha": -1.0}, "lwf_alpha", "0 or more"),
    (LwfConfig, {"lwf_temperature": 0.0}, "lwf_temperature", "greater than 0"),
    (SlcaConfig, {"align_epochs": -1}, "align_epochs", "0 or more"),
    (SlcaConfig, {"align_lr": 0.0}, "align_lr", "greater than 0"),
    (SlcaConfig, {"align_samples": 0}, "align_samples", "1 or more"),
    (SlcaConfig, {"logit_norm": 0.0}, "logit_norm", "null, or greater than 0"),
    (RanpacConfig, {"projection": -1}, "projection", "0 or more"),
    (RanpacConfig, {"ridge": 0.0}, "ridge", "null, or greater than 0"),
    (StreamConfig, {"dataset": "digit"}, "dataset", "Did you mean 'digits'?"),
    (StreamConfig, {"tasks": 0}, "tasks", "A task needs at least one class."),
    (StreamConfig, {"tasks": 11}, "tasks", "1 to 10"),
    (StreamConfig, {"tasks": 7}, "tasks", "the 10 classes of digits fill only 5 tasks: use 5"),
    (StreamConfig, {"tasks": 2, "task_order": (0, 2)}, "task_order", "a permutation of 0..1"),
    (StreamConfig, {"tasks": 2, "task_order": (0,)}, "task_order", "a permutation of 0..1"),
    (StreamConfig, {"validation_fraction": 1.0}, "validation_fraction", "below 1"),
    (StreamConfig, {"limit": 1}, "limit", "2 or more"),
    (TrainConfig, {"epochs": -1}, "epochs", "0 or more"),
    (TrainConfig, {"batch_size": 0}, "batch_size", "1 or more"),
    (TrainConfig, {"lr": 0.0}, "lr", "greater than 0"),
    (TrainConfig, {"lr": float("nan")}, "lr", "greater than 0"),
    (TrainConfig, {"lr_first_task": 0.0}, "lr_first_task", "null, or greater than 0"),
    (TrainConfig, {"lr_min": -1.0}, "lr_min", "0 or more"),
    (TrainConfig, {"weight_decay": -1.0}, "weight_decay", "0 or more"),
    (TrainConfig, {"grad_clip": 0.0}, "grad_clip", "null, or greater than 0"),
    (TrainConfig, {"threads": 0}, "threads", "1 or more"),
    (BackboneConfig, {"name": "nano_vit"}, "name", "Did you mean 'nano_vit32'?"),
    (BackboneConfig, {"name": "tiny_vit8"}, "weights", "No weights of 'tiny_vit8' ship"),
    (BackboneConfig, {"name": "vit base"}, "name", "A name consists of letters, digits"),
    (BackboneConfig, {"name": "sup21k"}, "weights", "the path of ViT-B_16.npz"),
    (BackboneConfig, {"name": "moco1k", "weights": "timm"}, "weights", "vit-b-300ep.pth.tar"),
    (BackboneConfig, {"weights": "timm"}, "weights", "a name with the tag"),
    (BackboneConfig, {"weights": "model.bin"}, "weights", ".safetensors, .npz, .pth"),
    (
        BackboneConfig,
        {"name": "deit_tiny_patch16_224", "image_size": 16},
        "image_size",
        " is 224.",
    ),
    (
        BackboneConfig,
        {"name": "deit_tiny_distilled_patch16_224", "pooling": "avg"},
        "pooling",
        "one of ['token']",
    ),
    (BackboneConfig, {"image_size": 18}, "image_size", "a positive multiple of the patch size 4"),
    (BackboneConfig, {"image_size": 0}, "image_size", "a positive multiple"),
    (ReadoutConfig, {"routing": "last", "metric": "euclid"}, "metric", "unless routing is"),
]


@pytest.mark.parametrize(
    ("build", "values", "path", "message"),
    CASES,
    ids=[f"{case[0].__name__}-{case[1]}" for case in CASES],  # type: ignore[attr-defined]
)
def test_a_violated_constraint_is_refused(
    build: Callable[..., object], values: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        build(**values)
    messages = {issue.path: str(issue) for issue in refused.value.issues}
    assert path in messages
    assert message in messages[path]
    assert repr(values.get(path, "shipped")) in messages[path]


def test_the_limits_themselves_are_allowed() -> None:
    LoracIpcConfig(importance_threshold=0.0, depth=0, rank=1, ipc_beta2=0.0)
    LoracIpcConfig(ipc_beta1=0.0, ipc_stat="sensitivity", ipc_beta2=0.999)  # which is not read
    LoracIpcConfig(ipc_beta1=0.999, ipc_beta2=0.999, ipc_stat="epoch_mean", ipc_window=1)
    LoracIpcConfig(ipc_beta1=0.999, ipc_target="factors", ipc_window=1)  # averaged as they come
    LoracIpcConfig(importance_threshold=1.0, ipc_window=86)  # 0.85**86 < 1e-6 < 0.85**85
    StreamConfig(tasks=10, validation_fraction=0.0, limit=2)
    TrainConfig(epochs=0, lr_min=0.0)


def warnings(**changes: Any) -> list[str]:
    run = RunConfig(
        backbone=BackboneConfig(name="tiny_vit8", weights="random", image_size=8),
        method=LoracIpcConfig(rank=2, **changes),  # 12 matrices, 5 tasks
    )
    return run.method.warnings_in(run.context)


def test_the_effect_of_a_threshold_is_reported_when_it_is_probably_unintended() -> None:
    assert warnings(importance_threshold=0.1) == []
    assert warnings(importance_threshold=0.0) == []
    (nothing,) = warnings(importance_threshold=0.05)
    assert "0.05 of 12 matrices is rounded to 0 (ipc_round: floor), so no matrix" in nothing
    assert warnings(importance_threshold=0.05, ipc_round="ceil") == []
    (everything,) = warnings(importance_threshold=0.4)
    assert "all 12 matrices are frozen from stage 4 of 5 on" in everything
    assert warnings(importance_threshold=0.4, ipc_relative=True) == []
    assert warnings(importance_threshold=0.4, depth=0) == []
