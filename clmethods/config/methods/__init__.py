"""Configurations of all methods, and the effect of their hyperparameters on each task."""

from clmethods.config.methods.ewc import EwcConfig
from clmethods.config.methods.fields import (
    AdapterFields,
    Effect,
    EffectContext,
    FullFields,
    LoraFields,
    MethodFields,
    Site,
)
from clmethods.config.methods.inflora import InfLoraConfig
from clmethods.config.methods.joint_full import JointFullConfig
from clmethods.config.methods.linear import JointLinearConfig, LinearProbeConfig
from clmethods.config.methods.lora_merge import LoraMergeConfig
from clmethods.config.methods.lorac_ipc import LoracIpcConfig
from clmethods.config.methods.lwf import LwfConfig
from clmethods.config.methods.nearest_class_mean import NearestClassMeanConfig
from clmethods.config.methods.o_lora import OLoraConfig
from clmethods.config.methods.ranpac import RanpacConfig
from clmethods.config.methods.sd_lora import SdLoraConfig
from clmethods.config.methods.sequential_finetuning import SequentialFinetuningConfig
from clmethods.config.methods.single_lora import JointLoraConfig, LoraSequentialConfig
from clmethods.config.methods.slca import SlcaConfig

MethodConfig = (
    LoracIpcConfig
    | LoraSequentialConfig
    | LoraMergeConfig
    | OLoraConfig
    | InfLoraConfig
    | SdLoraConfig
    | SequentialFinetuningConfig
    | EwcConfig
    | LwfConfig
    | SlcaConfig
    | LinearProbeConfig
    | NearestClassMeanConfig
    | RanpacConfig
    | JointFullConfig
    | JointLoraConfig
    | JointLinearConfig
)

METHOD_CONFIGS: dict[str, type[MethodConfig]] = {
    "lorac_ipc": LoracIpcConfig,
    "lora_sequential": LoraSequentialConfig,
    "lora_merge": LoraMergeConfig,
    "o_lora": OLoraConfig,
    "inflora": InfLoraConfig,
    "sd_lora": SdLoraConfig,
    "sequential_finetuning": SequentialFinetuningConfig,
    "ewc": EwcConfig,
    "lwf": LwfConfig,
    "slca": SlcaConfig,
    "linear_probe": LinearProbeConfig,
    "nearest_class_mean": NearestClassMeanConfig,
    "ranpac": RanpacConfig,
    "joint_full": JointFullConfig,
    "joint_lora": JointLoraConfig,
    "joint_linear": JointLinearConfig,
}
"""Configuration classes by `kind`; `clmethods.methods.METHODS` has the implementations."""

__all__ = [
    "METHOD_CONFIGS",
    "AdapterFields",
    "Effect",
    "EffectContext",
    "EwcConfig",
    "FullFields",
    "InfLoraConfig",
    "JointFullConfig",
    "JointLinearConfig",
    "JointLoraConfig",
    "LinearProbeConfig",
    "LoraFields",
    "LoraMergeConfig",
    "LoraSequentialConfig",
    "LoracIpcConfig",
    "LwfConfig",
    "MethodConfig",
    "MethodFields",
    "NearestClassMeanConfig",
    "OLoraConfig",
    "RanpacConfig",
    "SdLoraConfig",
    "SequentialFinetuningConfig",
    "Site",
    "SlcaConfig",
]
