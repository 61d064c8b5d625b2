"""A finished stage as files, and how a file is written so that it is there as a whole."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from clmethods.checkpoint import state_to_bytes
from clmethods.checksummed_json import sha256
from clmethods.config import StageSpec, canonical_json
from clmethods.training.stage import DivergedError, StageOutcome


class ArchiveError(RuntimeError):
    """A directory that is not the model that was asked for, or not a whole one."""


@final
@dataclass(frozen=True, slots=True)
class StageFiles:
    """A finished stage as the bytes that a store keeps."""

    marker: dict[str, Any]
    """`stage.json`: what the stage is, and the names of its payloads."""
    state: bytes
    result: bytes


def stage_files(stage: StageSpec, outcome: StageOutcome) -> StageFiles:
    """Payloads and marker of a stage.

    Raises `DivergedError` for figures that are not finite: the last step went too far.
    """
    state = state_to_bytes(outcome.delta)
    figures = {"training": asdict(outcome.training), "method": asdict(outcome.method)}
    try:
        result = canonical_json(figures).encode()
    except ValueError as error:
        raise DivergedError(
            f"the weights of task {stage.position + 1} are no longer finite after its last "
            "step. Lower train.lr or set train.grad_clip."
        ) from error
    marker = {
        "key": stage.key,
        "parent": stage.parent,
        "position": stage.position,
        "task_key": stage.task_key,
        "groups": [group.index for group in stage.groups],
        "classes": list(stage.classes),
        "effect": stage.effect,
        "state": f"state-{sha256(state)}.safetensors",
        "state_bytes": len(state),
        "result": f"result-{sha256(result)}.json",
    }
    return StageFiles(marker, state, result)


def write(path: Path, data: bytes) -> None:
    """Write a file aside and rename it: it is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(path)
