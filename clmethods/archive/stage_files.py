"""Files of a model directory: a finished stage as bytes, and atomic writing."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from clmethods.checkpoint import state_to_bytes
from clmethods.checksummed_json import sha256, verify_checksum
from clmethods.config import StageSpec, canonical_json
from clmethods.config.stage_marker import StageMarker
from clmethods.config.task_contents import stage_title
from clmethods.errors import ClmethodsError
from clmethods.training.stage import DivergedError, StageOutcome


class ArchiveError(ClmethodsError, RuntimeError):
    """Error for a directory that is not the expected model, or is incomplete or damaged."""


@final
@dataclass(frozen=True, slots=True)
class StageFiles:
    """Finished stage as the bytes that a store keeps."""

    marker: StageMarker
    state: bytes
    result: bytes


def stage_files(stage: StageSpec, outcome: StageOutcome) -> StageFiles:
    """Return the payloads and the marker of a stage.

    Raises `DivergedError` if figures are not finite, which happens if the last step diverged.
    """
    state = state_to_bytes(outcome.delta)
    figures = {"training": asdict(outcome.training), "method": asdict(outcome.method)}
    try:
        result = canonical_json(figures).encode()
    except ValueError as error:
        raise DivergedError(
            f"the weights of {stage_title(stage.groups)} are no longer finite after its last "
            "step. Lower train.lr or set train.grad_clip."
        ) from error
    marker: StageMarker = {
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
    """Write a file atomically: write a temporary file and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def read_checksummed(path: Path) -> Any:
    """Return the content of a JSON file with a checksum.

    Raises `ArchiveError` if the file is damaged, and `OSError` if it cannot be read.
    """
    content = verify_checksum(path.read_bytes())
    if content is None:
        raise ArchiveError(f"{path} is damaged: its checksum does not match its content.")
    return content
