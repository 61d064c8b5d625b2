"""Check for original data, weights files and compilers that a sweep needs on this machine."""

from __future__ import annotations

import os

from clmethods.catalog.facts import DATASETS
from clmethods.config.backbone import BackboneConfig
from clmethods.config.compiler_check import missing_compiler
from clmethods.config.stream import StreamConfig
from clmethods.config.weights_fit import unfit_weights
from clmethods.errors import ConfigIssue
from sweeps.definition.sweep import Sweep


def missing_data(sweep: Sweep) -> list[ConfigIssue]:
    """Return an issue for each folder of original data that does not exist.

    The content of the folders is not checked. User data is read when the sweep is loaded, so that
    it cannot be missing here.
    """
    issues: dict[str, ConfigIssue] = {}
    for run in sweep.runs:
        issue = _issue(run.stream)
        if issue is not None:
            issues.setdefault(str(issue), issue)
    return list(issues.values())


def misfit_weights(sweep: Sweep) -> list[ConfigIssue]:
    """Return an issue for each backbone whose weights file does not fit its architecture.

    Files that do not exist are not checked.
    """
    backbones: dict[BackboneConfig, None] = dict.fromkeys(run.backbone for run in sweep.runs)
    known = (backbone for backbone in backbones if backbone.weights_sha256 is not None)
    return [issue for issue in map(unfit_weights, known) if issue is not None]


def missing_compilers(sweep: Sweep) -> list[ConfigIssue]:
    """Return an issue if a run shall be compiled for the CPU and this machine has no compiler."""
    found = (missing_compiler(run.train) for run in sweep.runs)
    return list({str(issue): issue for issue in found if issue is not None}.values())


def _issue(stream: StreamConfig) -> ConfigIssue | None:
    facts = DATASETS.get(stream.dataset)
    if facts is None or facts.embedded or stream.download:
        return None
    if stream.root is not None and os.path.isdir(stream.root):
        return None
    constraint = f"the folder with the original files of {stream.dataset}"
    hint = "Put them there, correct the path, or set stream.download where they can be fetched."
    return ConfigIssue("stream.root", stream.root, constraint, hint)
