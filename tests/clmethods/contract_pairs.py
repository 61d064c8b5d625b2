"""Pairs of runs that differ in one field, for `test_contract.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from clmethods.config import (
    METHOD_CONFIGS,
    BackboneConfig,
    LoraFields,
    RunConfig,
    StreamConfig,
    TrainConfig,
)
from clmethods.methods import METHODS
from tests.clmethods.contract_values import OTHER
from tests.clmethods.runs import TINY, small_method

SMALL = RunConfig(
    backbone=TINY,
    stream=StreamConfig(tasks=3, limit=2),
    train=TrainConfig(epochs=2, batch_size=2, lr=0.01, weight_decay=0.01),
)
LORAC = {  # M = 6 matrices, k = 2; 8 steps in the first task, more than the window
    "sites": ("q", "v", "f2"),
    "importance_threshold": 0.4,
    "ipc_beta1": 0.08,
    "ipc_beta2": 0.08,
    "ipc_window": 7,
}

BASES: dict[str, RunConfig] = {
    kind: replace(SMALL, method=small_method(kind, **LORAC)) for kind in METHODS
}
"""One run of every method, under which every field is varied."""


def variant(kind: str = "lorac_ipc", **changes: Any) -> RunConfig:
    """Another setting of a method, in which fewer of its fields act."""
    return replace(SMALL, method=small_method(kind, **LORAC | changes))


VARIANTS: dict[str, RunConfig] = {
    "nothing is ever frozen": variant(importance_threshold=0.0),
    "everything is frozen at once": variant(importance_threshold=1.0),
    "everything is frozen in the end": variant(importance_threshold=0.5),
    "constant weights": variant(module_weights="ones"),
    "no penalty": variant(ortho_mode="none"),
    "a penalty of weight 0": variant(ortho_lambda=0.0),
    "no modules": variant(depth=0),
    "one task": replace(variant(), stream=StreamConfig(tasks=1, limit=2)),
    "sequential, no modules": variant("lora_sequential", depth=0),
    "joint, no modules": variant("joint_lora", depth=0),
    "merged, no modules": variant("lora_merge", depth=0),
    "O-LoRA, no modules": variant("o_lora", depth=0),
    "O-LoRA, no overlap": variant("o_lora", lambda1=0.0),
    "InfLoRA, no modules": variant("inflora", depth=0),
    "SD-LoRA, no modules": variant("sd_lora", depth=0),
    "SD-LoRA, continuous": variant("sd_lora", sd_carry="continuous"),
    "EWC, LoRA": variant("ewc", scope="lora"),
    "EWC, no modules": variant("ewc", scope="lora", depth=0),
    "EWC, no penalty": variant("ewc", ewc_lambda=0.0),
    "LwF, no distillation": variant("lwf", lwf_alpha=0.0),
    "SLCA, no alignment": variant("slca", align_epochs=0),
    "RanPAC, no modules": variant("ranpac", depth=0),
    "RanPAC, no session": variant("ranpac", first_session=False),
    "RanPAC, nothing drawn": variant("ranpac", first_session=False, projection=0, ridge=1.0),
}
"""Under these, the fields of the method are varied."""

CONCERNED = {
    "nothing is ever frozen": ("importance", "ipc_"),
    "everything is frozen in the end": ("importance", "ipc_", "ortho_lambda", "omega_lr"),
    "constant weights": ("module_weights", "omega_"),
    "no penalty": ("ortho_",),
    "a penalty of weight 0": ("ortho_",),
}
"""Beginnings of the fields that a variant bears on, where it does not bear on all."""

PLACES = {f"method.{f.name}" for f in fields(LoraFields)}
"""Placement and size of modules: varied under `BASES`, and for methods without modules."""

EVIDENCE = {
    ("everything is frozen in the end", "method.ipc_scope"),
    ("nothing is ever frozen", "method.ipc_unobserved"),
    ("one task", "method.ipc_unobserved"),
}
"""Here the bits happen to be the same, which no plan can know: the matrices chosen are the same,
or the task has fewer steps than the default window, which acts where no trace is used."""

RARE = {"ipc_every": 4, "ipc_beta1": 0.5, "ipc_beta2": 0.5, "ipc_window": 300}
"""Two samples a task, so that the averages have not forgotten that they started at 0."""

FURTHER: list[tuple[RunConfig, str, Any]] = [
    # Module weights: what only one scheme reads, and spellings of one setting.
    (variant(module_weights="learned_pull"), "method.omega_pull", 5.0),
    (variant(module_weights="learned_pull", omega_pull=0.0), "method.module_weights", "learned"),
    (variant(module_weights="learned_pull", omega_lr_scale=0.0), "method.omega_pull", 5.0),
    (variant(module_weights="decayed"), "method.omega_decay", 0.5),
    (variant(module_weights="decayed", omega_decay=1.0), "method.module_weights", "learned"),
    (variant(module_weights="normalised"), "method.omega_lr_scale", 1.0),
    (
        variant(module_weights="normalised", importance_threshold=0.0),
        *("method.omega_share", "block"),
    ),
    (variant(module_weights="direction_magnitude"), "method.omega_lr_scale", 1.0),
    (variant(module_weights="live"), "method.omega_share", "task"),
    (variant(omega_current=True), "method.module_weights", "live"),
    (variant(omega_current=True), "method.omega_share", "site"),
    (variant(omega_current=True, module_weights="ones"), "method.omega_current", False),
    (variant(sites=("q",), omega_share="site"), "method.omega_share", "task"),
    (variant(sites=("q",), omega_share="block"), "method.omega_share", "matrix"),
    (variant(depth=1, omega_share="block"), "method.omega_share", "task"),
    (variant(depth=1, omega_share="site"), "method.omega_share", "matrix"),
    (variant(depth=1, sites=("q",), omega_share="task"), "method.omega_share", "matrix"),
    # Starts: a complement of nothing; modes that draw their own.
    (variant(a_init="orthonormal"), "method.a_init", "complement"),
    (variant("lora_sequential", a_init="orthonormal"), "method.a_init", "complement"),
    (variant("joint_lora", a_init="orthonormal"), "method.a_init", "complement"),
    (variant(ortho_mode="fixed_basis"), "method.a_init", "kaiming_fan_in"),
    (variant(ortho_mode="reparam_torch"), "method.a_init", "complement"),
    (variant(ortho_mode="reparam_qr"), "method.a_init", "complement"),
    (variant(ortho_mode="project"), "method.a_init", "complement"),
    # Penalties: a weight that acts from the second task on, or nowhere.
    (variant(ortho_mode="qr"), "method.ortho_lambda", 3.0),
    (variant(ortho_mode="cross_l1"), "method.ortho_lambda", 0.0),
    (variant(ortho_mode="reparam_qr"), "method.ortho_lambda", 3.0),
    (variant(ortho_mode="project"), "method.ortho_lambda", 0.0),
    # Importance: what a choice reads, when it is made.
    (variant(ipc_target="factors"), "method.ipc_beta1", 0.005),
    (variant(ipc_target="factors"), "method.ipc_stat", "epoch_mean"),
    (variant(ipc_target="factors", ipc_stat="sensitivity"), "method.ipc_beta2", 0.0),
    (variant(ipc_target="factors"), "method.ipc_reducer", "sum"),
    (variant(ipc_target="factors"), "method.ipc_window", 6),
    (
        variant(ipc_stat="sensitivity", importance_threshold=0.67, ipc_window=300),
        *("method.ipc_beta1", 0.9),
    ),
    (variant(ipc_stat="sensitivity"), "method.ipc_beta2", 0.0),
    (variant(ipc_stat="epoch_mean"), "method.ipc_beta1", 0.005),
    (variant(**RARE), "method.ipc_stat", "ema_unbiased"),
    *(
        (variant(ipc_selector=selector), path, value)
        for selector in ("random", "first_blocks", "magnitude")
        for path, value in (
            ("method.ipc_stat", "sensitivity"),
            ("method.ipc_target", "delta"),
            ("method.ipc_every", 2),
        )
    ),
    (variant(ipc_selector="first_blocks"), "method.ipc_scope", "per_block"),
    (variant(importance_threshold=0.5, ipc_beta1=0.005), "method.ipc_scope", "per_site"),
    (variant(importance_threshold=0.5, ipc_round="ceil"), "method.ipc_relative", True),
]
"""Settings under which the value acts at another task than under `BASES`, or not at all."""

NARROW = {"lorac_ipc", "lora_sequential", "joint_lora", "nearest_class_mean"}
"""Methods under which data, backbone and training are varied by default: the same few lines put
them into every method's keys. The rest is run by `make test-slow`."""


def is_slow(label: str, path: str) -> bool:
    """Return True if only `make test-slow` runs the pair.

    These are baselines without modules, and, under most methods, the fields that all methods read
    alike. The effect of the task order depends on the method, so it is not among these fields.
    """
    if label.endswith("no modules"):
        return not label.startswith(("no", "sequential", "joint"))
    common = path.startswith(("stream.", "backbone.", "train.")) and path != "stream.task_order"
    return common and label not in NARROW


RATES: dict[str, tuple[dict[str, Any], str, Any]] = {
    "lr acts from the second task on": ({"lr_first_task": 0.03}, "lr", 0.02),
    "lr_min has no schedule to end": ({"schedule": "constant"}, "lr_min", 1e-3),
}


CUTS = StreamConfig(init_classes=4, increment=3, limit=2)
"""Classes 0-3, 4-6 and 7-9: the other increment leaves the first task as it is."""

DOMAINS = StreamConfig(dataset="digits-dil", limit=2)
"""The same ten classes in every task."""


def field_paths() -> Iterator[str]:
    """Every field of a run, whatever its method."""
    for section in fields(RunConfig):
        sections: dict[str, list[Any]] = {
            "backbone": [BackboneConfig],
            "stream": [StreamConfig],
            "train": [TrainConfig],
            "method": list(METHOD_CONFIGS.values()),
        }
        configs = sections.get(section.name)
        if configs is None:
            yield section.name
        else:
            yield from dict.fromkeys(
                f"{section.name}.{f.name}" for c in configs for f in fields(c)
            )


def with_field(run: RunConfig, path: str, value: Any) -> RunConfig:
    *sections, name = path.split(".")
    if not sections:
        return replace(run, **{name: value})
    (section,) = sections
    return replace(run, **{section: replace(getattr(run, section), **{name: value})})


def read_field(run: RunConfig, path: str) -> Any:
    value: Any = run
    for name in path.split("."):
        value = getattr(value, name)
    return value


def has_field(run: RunConfig, path: str) -> bool:
    section, _, name = path.rpartition(".")
    owner = getattr(run, section) if section else run
    return is_dataclass(owner) and name in {f.name for f in fields(owner)}


def pairs() -> Iterator[Any]:
    for label, run in (BASES | VARIANTS).items():
        for path, values in OTHER.items():
            if not has_field(run, path):
                continue
            if label in VARIANTS and not path.startswith("method."):
                continue
            if label in VARIANTS and path in PLACES and "no modules" not in label:
                continue
            if label in CONCERNED and not path.split(".")[1].startswith(CONCERNED[label]):
                continue
            if (label, path) in EVIDENCE:
                continue
            for value in values:
                if read_field(run, path) != value:
                    marks = [pytest.mark.slow] if is_slow(label, path) else []
                    name = f"{label}-{path}={value}"
                    yield pytest.param(run, path, value, id=name, marks=marks)
    for number, (run, path, value) in enumerate(FURTHER):
        yield pytest.param(run, path, value, id=f"further {number}-{path}={value}")
    for label, (changes, name, value) in RATES.items():
        run = replace(BASES["lora_sequential"], train=replace(SMALL.train, **changes))
        yield pytest.param(run, f"train.{name}", value, id=label)
    cut = replace(BASES["lora_sequential"], stream=CUTS)
    yield pytest.param(cut, "stream.init_classes", 5, id="cut-stream.init_classes=5")
    yield pytest.param(cut, "stream.increment", 4, id="cut-stream.increment=4")
    for kind in ("lorac_ipc", "lora_sequential", "joint_lora"):
        domains = replace(BASES[kind], stream=DOMAINS)
        order = (0, 1, 3, 2)
        yield pytest.param(domains, "stream.task_order", order, id=f"domains-{kind}")
    for label in ("RanPAC, no session", "RanPAC, nothing drawn"):
        for path, value in (("seed", 1), ("train.lr", 0.02)):
            yield pytest.param(VARIANTS[label], path, value, id=f"{label}-{path}={value}")
    whole = with_field(BASES["lora_sequential"], "stream.validation_fraction", 0.0)
    yield pytest.param(whole, "stream.split_seed", 1, id="nothing is held out")
