"""Hypothesis strategies shared by the suite: valid configurations."""

from __future__ import annotations

from hypothesis import strategies as st

from clmethods.config import (
    BackboneConfig,
    JointLoraConfig,
    LoracIpcConfig,
    LoraSequentialConfig,
    MethodConfig,
    NearestClassMeanConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
)
from clmethods.config.facts import DATASETS, SITES

CLASSES = DATASETS["digits"].classes
TASK_COUNTS = (1, 2, 3, 4, 5, 10)
"""Numbers of tasks that leave each task of the digits a class."""

rates = st.floats(1e-6, 1.0, allow_nan=False)


@st.composite
def streams(draw: st.DrawFn, tasks: int | None = None) -> StreamConfig:
    """Any valid stream over the digits."""
    count = tasks if tasks is not None else draw(st.sampled_from(TASK_COUNTS))
    return StreamConfig(
        tasks=count,
        class_order_seed=draw(st.none() | st.integers(0, 99)),
        task_order=draw(st.none() | st.permutations(range(count)).map(tuple)),
        split_seed=draw(st.integers(0, 99)),
        validation_fraction=draw(st.sampled_from([0.0, 0.1, 0.25])),
        limit=draw(st.none() | st.integers(2, 50)),
    )


def backbones() -> st.SearchStrategy[BackboneConfig]:
    """The tiny backbone at several sizes."""
    return st.builds(
        BackboneConfig,
        name=st.just("tiny_vit8"),
        weights=st.just("random"),
        image_size=st.sampled_from([4, 8, 16]),
        normalise=st.sampled_from(["half", "none", "imagenet", "cifar"]),
        pooling=st.sampled_from(["token", "avg"]),
    )


_lora = {
    "rank": st.integers(1, 64),
    "lora_alpha": st.floats(0.01, 64.0, allow_nan=False),
    "sites": st.lists(st.sampled_from(SITES), min_size=1, unique=True).map(tuple),
    "depth": st.none() | st.integers(0, 12),
    "a_init": st.sampled_from(["kaiming_ref", "kaiming_fan_in"]),
}


def lorac_configs() -> st.SearchStrategy[LoracIpcConfig]:
    """Any LoRAC-IPC that obeys its own laws."""
    return st.builds(
        LoracIpcConfig,
        **_lora,
        module_weights=st.sampled_from(["ones", "learned"]),
        omega_lr_scale=st.floats(0.0, 10.0, allow_nan=False),
        ortho_mode=st.sampled_from(["none", "gram"]),
        ortho_lambda=st.floats(0.0, 10.0, allow_nan=False),
        importance_threshold=st.floats(0.0, 1.0, allow_nan=False),
        ipc_beta1=st.floats(0.01, 0.95, allow_nan=False),
        ipc_beta2=st.floats(0.0, 0.95, allow_nan=False),
        ipc_every=st.integers(1, 10),
        ipc_window=st.integers(300, 500),
    )


def methods() -> st.SearchStrategy[MethodConfig]:
    """A configuration of any method."""
    return st.one_of(
        lorac_configs(),
        st.builds(LoraSequentialConfig, **_lora),
        st.builds(JointLoraConfig, **_lora),
        st.just(NearestClassMeanConfig()),
    )


def trainings() -> st.SearchStrategy[TrainConfig]:
    """Any valid training."""
    return st.builds(
        TrainConfig,
        epochs=st.integers(0, 50),
        batch_size=st.integers(1, 256),
        optimizer=st.sampled_from(["adam", "adamw", "sgd"]),
        lr=rates,
        lr_first_task=st.none() | rates,
        lr_min=st.floats(0.0, 1e-3, allow_nan=False),
        schedule=st.sampled_from(["cosine", "cosine_ref", "constant"]),
        weight_decay=st.floats(0.0, 0.5, allow_nan=False),
        grad_clip=st.none() | rates,
        precision=st.sampled_from(["float32", "float64"]),
        threads=st.integers(1, 8),
    )


def runs() -> st.SearchStrategy[RunConfig]:
    """Any valid run."""
    return st.builds(
        RunConfig,
        backbone=backbones(),
        stream=streams(),
        method=methods(),
        train=trainings(),
        seed=st.integers(0, 2**31),
    )
