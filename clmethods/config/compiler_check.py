"""Check for the C++ compiler that `train.compile` needs on the CPU."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

from clmethods.config.train import TrainConfig
from clmethods.errors import ConfigIssue

DEFAULT_COMPILER = "clang++" if sys.platform == "darwin" else "g++"
"""Compiler that `torch.compile` calls if the environment variable CXX is not set."""


def missing_compiler(train: TrainConfig) -> ConfigIssue | None:
    """Return an issue if the network shall be compiled for the CPU and this machine cannot."""
    if not train.compile or train.device != "cpu":
        return None
    command = os.environ.get("CXX") or DEFAULT_COMPILER
    program = (shlex.split(command) or [command])[0]
    if shutil.which(program) is not None:
        return None
    return ConfigIssue(
        "train.compile",
        True,
        f"false on a machine without the C++ compiler {program}",
        "Install it (on Debian: apt install g++), name another one in the environment variable "
        "CXX, or set train.compile: false.",
    )
