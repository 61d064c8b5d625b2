"""Continual learning methods, registered by kind in `METHODS`."""

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
from clmethods.methods.ewc import Ewc
from clmethods.methods.inflora import InfLora
from clmethods.methods.joint_full import JointFull
from clmethods.methods.linear import JointLinear, LinearProbe
from clmethods.methods.lora_merge import LoraMerge
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.methods.lwf import Lwf
from clmethods.methods.nearest_class_mean import NearestClassMean
from clmethods.methods.o_lora import OLora
from clmethods.methods.ranpac import Ranpac
from clmethods.methods.sd_lora import SdLora
from clmethods.methods.sequential_finetuning import SequentialFinetuning
from clmethods.methods.single_lora import JointLora, LoraSequential
from clmethods.methods.slca import Slca

METHODS: dict[str, type[Method]] = {
    "lorac_ipc": LoracIpc,
    "lora_sequential": LoraSequential,
    "lora_merge": LoraMerge,
    "o_lora": OLora,
    "inflora": InfLora,
    "sd_lora": SdLora,
    "sequential_finetuning": SequentialFinetuning,
    "ewc": Ewc,
    "lwf": Lwf,
    "slca": Slca,
    "linear_probe": LinearProbe,
    "nearest_class_mean": NearestClassMean,
    "ranpac": Ranpac,
    "joint_full": JointFull,
    "joint_lora": JointLora,
    "joint_linear": JointLinear,
}
"""Method classes by the kinds of `clmethods.config.methods.METHOD_CONFIGS`."""

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
