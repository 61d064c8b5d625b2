"""Configurations of runs and readouts, and stage keys. Requires only the standard library."""

from clmethods.canonical import canonical_json, derive_seed, fingerprint, short_id
from clmethods.config.backbone import BackboneConfig
from clmethods.config.extension import (
    ExtendedStream,
    NewTask,
    as_trained,
    extended,
    new_task_from_dict,
    new_task_to_dict,
    unextended,
)
from clmethods.config.from_dict import readout_from_dict, run_from_dict
from clmethods.config.keys import (
    StageSpec,
    evaluation_id,
    partition_id,
    stage_chain,
)
from clmethods.config.methods import (
    METHOD_CONFIGS,
    EffectContext,
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
    SdLoraConfig,
    SequentialFinetuningConfig,
    SlcaConfig,
)
from clmethods.config.readout import ReadoutConfig
from clmethods.config.resolve import resolve
from clmethods.config.run import RunConfig, run_to_dict
from clmethods.config.stage_marker import StageMarker, describes_stage
from clmethods.config.stream import StreamConfig, TaskGroup
from clmethods.config.train import TrainConfig
from clmethods.errors import ConfigIssue, InvalidConfigError

__all__ = [
    "METHOD_CONFIGS",
    "BackboneConfig",
    "ConfigIssue",
    "EffectContext",
    "EwcConfig",
    "ExtendedStream",
    "InfLoraConfig",
    "InvalidConfigError",
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
    "NearestClassMeanConfig",
    "NewTask",
    "OLoraConfig",
    "RanpacConfig",
    "ReadoutConfig",
    "RunConfig",
    "SdLoraConfig",
    "SequentialFinetuningConfig",
    "SlcaConfig",
    "StageMarker",
    "StageSpec",
    "StreamConfig",
    "TaskGroup",
    "TrainConfig",
    "as_trained",
    "canonical_json",
    "derive_seed",
    "describes_stage",
    "evaluation_id",
    "extended",
    "fingerprint",
    "new_task_from_dict",
    "new_task_to_dict",
    "partition_id",
    "readout_from_dict",
    "resolve",
    "run_from_dict",
    "run_to_dict",
    "short_id",
    "stage_chain",
    "unextended",
]
