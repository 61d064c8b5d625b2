"""Comparison of a weights file with its architecture during planning, which does not load torch.

The names and shapes are compared by timm in a subprocess. A file that fits is recorded in the
user's cache directory by its checksum, so that it is read once.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from clmethods.canonical import fingerprint
from clmethods.catalog.shapes import ask_timm, cache_folder
from clmethods.config.backbone import BackboneConfig
from clmethods.config.resolve import weights_path
from clmethods.errors import ConfigIssue
from clmethods.version import __version__

RULES = 2
"""Version of the comparison, increased when a file that did fit may no longer fit."""


@lru_cache(maxsize=64)
def unfit_weights(backbone: BackboneConfig) -> ConfigIssue | None:
    """Return an issue if the weights file of a resolved backbone does not fit its architecture.

    The weights that ship with the package fit. If timm cannot be queried on this machine, the file
    is not checked before it is loaded.
    """
    if backbone.weights in {"random", "shipped"}:
        return None
    path = weights_path(backbone)
    record = _record(backbone)
    if record is not None and record.is_file():
        return None
    question = asdict(backbone) | {"weights": str(path)}
    answer = ask_timm("fit", json.dumps(question))
    difference = answer.get("misfit")
    if difference:
        return misfit_issue(backbone, difference)
    if difference == "" and record is not None:
        try:
            record.parent.mkdir(parents=True, exist_ok=True)
            record.touch()
        except OSError:  # the record only saves time
            return None
    return None


def misfit_issue(backbone: BackboneConfig, difference: str) -> ConfigIssue:
    """Return the issue of a weights file with the differences."""
    allowed = f"a file with the tensors of {backbone.architecture}"
    return ConfigIssue("backbone.weights", backbone.weights, allowed, f"{difference}.")


def _record(backbone: BackboneConfig) -> Path | None:
    try:
        folder = cache_folder() / f"timm-{version('timm')}" / "fit"
    except PackageNotFoundError:
        return None
    return folder / fingerprint([__version__, RULES, backbone.identity()])
