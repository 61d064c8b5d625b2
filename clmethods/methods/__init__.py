"""METHODS: every method by its kind."""

from clmethods.methods.base import (
    LinearHead,
    LowRank,
    MatrixReport,
    Method,
    MethodReport,
    ParamGroup,
    Predictor,
    State,
)
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.methods.nearest_class_mean import NearestClassMean
from clmethods.methods.sequential_finetuning import SequentialFinetuning
from clmethods.methods.single_lora import JointLora, LoraSequential

METHODS: dict[str, type[Method]] = {
    "lorac_ipc": LoracIpc,
    "lora_sequential": LoraSequential,
    "joint_lora": JointLora,
    "nearest_class_mean": NearestClassMean,
    "sequential_finetuning": SequentialFinetuning,
}
"""Implementations by the kinds of `clmethods.config.methods.METHOD_CONFIGS`."""

__all__ = [
    "METHODS",
    "LinearHead",
    "LowRank",
    "MatrixReport",
    "Method",
    "MethodReport",
    "ParamGroup",
    "Predictor",
    "State",
]
