"""Hyperparameters of every method, and which of them act at which task."""

from clmethods.config.methods.fields import Effect, EffectContext, LoraFields, MethodFields, Site
from clmethods.config.methods.lorac_ipc import LoracIpcConfig
from clmethods.config.methods.nearest_class_mean import NearestClassMeanConfig
from clmethods.config.methods.sequential_finetuning import SequentialFinetuningConfig
from clmethods.config.methods.single_lora import JointLoraConfig, LoraSequentialConfig

MethodConfig = (
    LoracIpcConfig
    | LoraSequentialConfig
    | JointLoraConfig
    | NearestClassMeanConfig
    | SequentialFinetuningConfig
)

METHOD_CONFIGS: dict[str, type[MethodConfig]] = {
    "lorac_ipc": LoracIpcConfig,
    "lora_sequential": LoraSequentialConfig,
    "joint_lora": JointLoraConfig,
    "nearest_class_mean": NearestClassMeanConfig,
    "sequential_finetuning": SequentialFinetuningConfig,
}
"""Every method by its `kind`; `clmethods.methods.METHODS` holds the implementations."""

__all__ = [
    "METHOD_CONFIGS",
    "Effect",
    "EffectContext",
    "JointLoraConfig",
    "LoraFields",
    "LoraSequentialConfig",
    "LoracIpcConfig",
    "MethodConfig",
    "MethodFields",
    "NearestClassMeanConfig",
    "SequentialFinetuningConfig",
    "Site",
]
