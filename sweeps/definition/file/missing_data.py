"""Data that a sweep needs and that is not where its file says."""

from __future__ import annotations

from pathlib import Path

from clmethods.catalog.facts import DATASETS
from clmethods.config.stream import StreamConfig
from clmethods.errors import ConfigIssue
from sweeps.definition.sweep import Sweep


def missing_data(sweep: Sweep) -> list[ConfigIssue]:
    """Folders of originals that do not exist, each once. What is in a folder is not looked at.

    Data of one's own is read when the sweep is loaded, so it cannot be missing here.
    """
    found: dict[str, ConfigIssue] = {}
    for configuration in sweep.configurations:
        issue = _fault(configuration.run.stream)
        if issue is not None:
            found.setdefault(str(issue), issue)
    return list(found.values())


def _fault(stream: StreamConfig) -> ConfigIssue | None:
    facts = DATASETS.get(stream.dataset)
    if facts is None or facts.embedded or stream.download:
        return None
    if stream.root is not None and Path(stream.root).is_dir():
        return None
    constraint = f"the folder with the original files of {stream.dataset}"
    hint = "Put them there, correct the path, or set stream.download where they can be fetched."
    return ConfigIssue("stream.root", stream.root, constraint, hint)
