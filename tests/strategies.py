"""Hypothesis strategies shared by the suite: valid configurations."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st

from clmethods.catalog.facts import DATASETS, SITES
from clmethods.config import (
    BackboneConfig,
    EwcConfig,
    InfLoraConfig,
    JointFullConfig,
    JointLinearConfig,
    JointLoraConfig,
    LinearProbeConfig,
    LoracIpcConfig,
    LoraFields,
    LoraMergeConfig,
    LoraSequentialConfig,
    LwfConfig,
    MethodConfig,
    NearestClassMeanConfig,
    OLoraConfig,
    RanpacConfig,
    RunConfig,
    SdLoraConfig,
    SequentialFinetuningConfig,
    SlcaConfig,
    StreamConfig,
    TrainConfig,
)
from clmethods.config.methods.lorac_ipc import CURRENT_WEIGHTS

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


NARROWEST = 16
"""Fan-in of the least matrix of the tiny backbone: what T * r must not exceed."""

_lora = {
    "rank": st.integers(1, 64),
    "lora_alpha": st.floats(0.01, 64.0, allow_nan=False),
    "sites": st.lists(st.sampled_from(SITES), min_size=1, unique=True).map(tuple),
    "depth": st.none() | st.integers(0, 12),
    "a_init": st.sampled_from(["kaiming_ref", "kaiming_fan_in"]),
}


def _choices(config: type[object], name: str) -> st.SearchStrategy[str]:
    """Any value of a field that names its choices."""
    return st.sampled_from(get_args(get_type_hints(config)[name]))


@st.composite
def lorac_configs(draw: st.DrawFn) -> LoracIpcConfig:
    """Valid LoRAC-IPC configurations with enough dimensions for the modules of ten tasks."""
    roomy = draw(st.booleans())
    soft = ["none", "gram", "gram_sq", "cross", "cross_l1"]
    names = ("ipc_target", "ipc_reducer", "ipc_stat", "ipc_selector", "ipc_scope", "ipc_round")
    choices: dict[str, st.SearchStrategy[Any]] = {
        name: _choices(LoracIpcConfig, name) for name in names
    }
    weights = draw(_choices(LoracIpcConfig, "module_weights"))
    if roomy:
        choices["ortho_mode"] = _choices(LoracIpcConfig, "ortho_mode")
        choices["a_init"] = _choices(LoraFields, "a_init")
        choices["rank"] = st.integers(1, NARROWEST // max(TASK_COUNTS))
    else:
        choices["ortho_mode"] = st.sampled_from(soft)
    if weights != "direction_magnitude":
        choices["omega_share"] = _choices(LoracIpcConfig, "omega_share")
    if weights in CURRENT_WEIGHTS:
        choices["omega_current"] = st.booleans()
    return draw(
        st.builds(
            LoracIpcConfig,
            **_lora | choices,
            module_weights=st.just(weights),
            omega_lr_scale=st.floats(0.0, 10.0, allow_nan=False),
            omega_pull=st.floats(0.0, 10.0, allow_nan=False),
            omega_decay=st.floats(0.01, 1.0, allow_nan=False),
            ortho_lambda=st.floats(0.0, 10.0, allow_nan=False),
            importance_threshold=st.floats(0.0, 1.0, allow_nan=False),
            ipc_relative=st.booleans(),
            ipc_beta1=st.floats(0.01, 0.95, allow_nan=False),
            ipc_beta2=st.floats(0.0, 0.95, allow_nan=False),
            ipc_every=st.integers(1, 10),
            ipc_window=st.integers(300, 500),
        )
    )


_full = {"body_lr_scale": st.floats(0.0, 10.0, allow_nan=False)}
_adapter = {name: _lora[name] for name in ("rank", "sites", "depth")}
_weights = st.floats(0.0, 1e3, allow_nan=False)
_positive = st.floats(1e-3, 1e3, allow_nan=False)
_losses = st.sampled_from(["local", "global"])


def baseline_configs() -> st.SearchStrategy[MethodConfig]:
    """A configuration of any method with which LoRAC-IPC is compared."""
    return st.one_of(
        st.builds(LoraSequentialConfig, **_lora),
        st.builds(LoraMergeConfig, **_lora),
        st.builds(
            OLoraConfig,
            **_lora,
            olora_pow=st.sampled_from([1, 2]),
            lambda1=_weights,
            lambda2=_weights,
        ),
        st.builds(InfLoraConfig, **_adapter, lambda_e=st.floats(0.01, 1.0)),
        st.builds(
            SdLoraConfig,
            **_adapter,
            a_init=_lora["a_init"],
            sd_carry=st.sampled_from(["ref", "continuous"]),
            magnitude_init=_positive,
            magnitude_lr_scale=_weights,
        ),
        st.builds(SequentialFinetuningConfig, **_full, head_loss=_losses),
        st.builds(
            EwcConfig,
            **_lora,
            **_full,
            scope=st.sampled_from(["full", "lora"]),
            ewc_lambda=_weights,
            ewc_gamma=st.floats(0.0, 1.0),
            fisher_label=st.sampled_from(["true", "sampled"]),
        ),
        st.builds(
            LwfConfig, **_full, head_loss=_losses, lwf_alpha=_weights, lwf_temperature=_positive
        ),
        st.builds(
            SlcaConfig,
            **_full,
            align_epochs=st.integers(0, 10),
            align_lr=_positive,
            align_samples=st.integers(1, 512),
            logit_norm=st.none() | _positive,
        ),
        st.builds(
            RanpacConfig,
            **_lora,
            first_session=st.booleans(),
            projection=st.integers(0, 10_000),
            ridge=st.none() | _positive,
        ),
        st.builds(NearestClassMeanConfig, metric=st.sampled_from(["cosine", "euclid"])),
        st.just(LinearProbeConfig()),
        st.just(JointLinearConfig()),
        st.builds(JointFullConfig, **_full),
        st.builds(JointLoraConfig, **_lora),
    )


def methods() -> st.SearchStrategy[MethodConfig]:
    """A configuration of any method."""
    return st.one_of(lorac_configs(), baseline_configs())


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
        precision=st.sampled_from(["float32", "bfloat16", "float64"]),
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
