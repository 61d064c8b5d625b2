"""From a run as written to a run that says everything: weights become checksums."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from clmethods.config.backbone import BackboneConfig
from clmethods.config.faults import Fault, InvalidConfigError, require
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig

SHIPPED = {"nano_vit32": "nano_vit32"}
"""File stem below `clmethods/weights/` of the backbones that ship."""


def resolve(run: RunConfig) -> RunConfig:
    """The run with its weights' checksum, its data's version and its task order spelt out.

    Raises `InvalidConfigError` when weights are missing, or when weights or data are not those
    that were asked for.
    """
    return replace(run, backbone=resolve_backbone(run.backbone), stream=resolve_stream(run.stream))


def resolve_stream(stream: StreamConfig) -> StreamConfig:
    """The stream with its order spelt out, absolute paths, and the version of one's own data."""
    stream = replace(
        stream,
        task_order=stream.order,
        # absolute, because a worker may run in another directory
        root=_absolute(stream.root),
        manifest=_absolute(stream.manifest),
        split_file=_absolute(stream.split_file),
    )
    listing = stream.listing()
    if listing is None:
        return stream
    wanted = stream.data_version or listing.version
    fault = require(
        listing.version == wanted,
        "stream.data_version",
        wanted,
        f"{listing.version}, the fingerprint of the data as it is now",
        "The files have changed since: restore them, or leave data_version out to start anew.",
    )
    if fault is not None:
        raise InvalidConfigError([fault])
    return replace(stream, data_version=wanted)


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def resolve_backbone(backbone: BackboneConfig) -> BackboneConfig:
    """The backbone with the checksum of its weights filled in, or checked if it was given."""
    if backbone.weights == "random":
        return replace(backbone, weights_sha256=None)
    path = weights_path(backbone)
    if not path.is_file():
        raise InvalidConfigError(
            [
                Fault(
                    "backbone.weights",
                    backbone.weights,
                    "an existing .safetensors file, `shipped` or `random`",
                    f"No file at {path}.",
                )
            ]
        )
    actual = _sha256(path, path.stat().st_mtime_ns)
    wanted = backbone.weights_sha256
    if wanted is None and backbone.weights == "shipped":
        wanted = _recorded_sha256(path)
    fault = require(
        wanted in {None, actual},
        "backbone.weights",
        backbone.weights,
        f"a file with SHA-256 {wanted}",
        f"{path.name} has {actual}: restore the file, or correct weights_sha256.",
    )
    if fault is not None:
        raise InvalidConfigError([fault])
    if backbone.weights == "shipped":
        return replace(backbone, weights_sha256=actual)
    # absolute, because a worker may run in another directory
    return replace(backbone, weights=str(path.resolve()), weights_sha256=actual)


def weights_path(backbone: BackboneConfig) -> Path:
    """The file that holds the weights of a backbone that is not random."""
    if backbone.weights == "shipped":
        return Path(str(files("clmethods"))) / "weights" / f"{SHIPPED[backbone.name]}.safetensors"
    return Path(backbone.weights)


def _recorded_sha256(path: Path) -> str:
    record = path.with_suffix(".json")
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError) as error:
        mend = f"{record.name} is missing or damaged: reinstall the package."
        raise InvalidConfigError(
            [Fault("backbone.weights", "shipped", "weights with a readable record", mend)]
        ) from error


@lru_cache(maxsize=32)
def _sha256(path: Path, modified_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
