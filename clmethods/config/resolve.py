"""Resolution of a run: checksums of weights, facts of the data, absolute paths, task order."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from clmethods.catalog.facts import ALIASES
from clmethods.catalog.shapes import ask_timm
from clmethods.config.backbone import FORMATS, BackboneConfig
from clmethods.config.extension import ExtendedStream
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig
from clmethods.errors import ConfigIssue, InvalidConfigError
from clmethods.user_data import hub_cache as hub

SHIPPED = {"nano_vit32": "nano_vit32"}
"""File stems below `clmethods/weights/` of the backbones that ship with the package."""

CIFAR_IN_REFERENCE = ("vit_base_patch16_224.orig_in21k", "cifar100")
"""Weights and dataset for which the public code normalizes pixels, with the statistics of CIFAR.
For all other pairs, pixels stay in [0, 1], regardless of the weights (docs/method.md 10)."""


class MissingWeightsError(InvalidConfigError):
    """Exception for weights that cannot be found; the rest of the run may be valid."""


def resolve(run: RunConfig, *, without_weights: bool = False) -> RunConfig:
    """Return the run with weights checksum, data facts, task order and `normalise: ref` resolved.

    `without_weights` skips the checksum. The path of the weights then replaces it in stage keys,
    so that stages can be counted, but no stored stage can be found.

    Raises `InvalidConfigError` if the weights do not have the required checksum, and its subclass
    `MissingWeightsError` if they cannot be found.
    """
    backbone = run.backbone if without_weights else resolve_backbone(run.backbone)
    if backbone.normalise == "ref":
        pair = (backbone.timm_name, run.stream.dataset)
        backbone = replace(backbone, normalise="cifar" if pair == CIFAR_IN_REFERENCE else "none")
    return replace(run, backbone=backbone, stream=resolve_stream(run.stream))


def resolve_stream(stream: StreamConfig) -> StreamConfig:
    """Return the stream with explicit task order, absolute paths, and facts of the user's data.

    Facts that a run recorded earlier are kept, so that the run can be read without its data.
    Before training, the data is compared with these facts.
    """
    if isinstance(stream, ExtendedStream):
        added = replace(stream.added, stream=resolve_stream(stream.added.stream))
        base = resolve_stream(stream.base)
        return replace(stream, base=base, added=added, task_order=stream.order)
    record = stream.record
    if record is None and (listing := stream.listing()) is not None:
        record = replace(stream.facts_of(listing), content=listing.content)
    return replace(
        stream,
        task_order=stream.order,
        # Paths are absolute, because a worker may run in another directory.
        root=_absolute(stream.root),
        manifest=_absolute(stream.manifest),
        split_file=_absolute(stream.split_file),
        record=record,
        split_version=stream.split_id(),
    )


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def resolve_backbone(backbone: BackboneConfig) -> BackboneConfig:
    """Return the backbone with the checksum of its weights, which is checked if it was given.

    Raises `MissingWeightsError` if the weights cannot be found, and `InvalidConfigError` if they
    have another checksum.
    """
    if backbone.weights == "random":
        return replace(backbone, weights_sha256=None)
    path, actual = checked_weights(backbone)
    if backbone.weights in {"shipped", "timm"}:  # each host has its own copy
        return replace(backbone, weights_sha256=actual)
    # The path is absolute, because a worker may run in another directory.
    return replace(backbone, weights=str(path.resolve()), weights_sha256=actual)


def checked_weights(backbone: BackboneConfig) -> tuple[Path, str]:
    """Return (path, SHA-256) of the weights file of a backbone that is not random.

    Raises `MissingWeightsError` if the weights cannot be found, and `InvalidConfigError` if they
    have another checksum than the configuration or the record of the package requires.
    """
    path = weights_path(backbone)
    if not path.is_file():
        raise MissingWeightsError([_missing(backbone, path)])
    actual = _sha256(path, path.stat().st_mtime_ns)
    expected = backbone.weights_sha256
    if expected is None and backbone.weights == "shipped":
        expected = _recorded_sha256(path)
    if expected not in {None, actual}:
        allowed = f"a file with SHA-256 {expected}"
        hint = f"{path.name} has SHA-256 {actual}: restore the file, or correct weights_sha256."
        raise InvalidConfigError(
            [ConfigIssue("backbone.weights", backbone.weights, allowed, hint)]
        )
    return path, actual


def weights_path(backbone: BackboneConfig) -> Path:
    """Return the path of the weights file of a backbone that is not random.

    With `weights: timm`, the file is downloaded if it is not in the local cache of the hub.
    Raises `MissingWeightsError` if the download fails or is disabled.
    """
    if backbone.weights == "shipped":
        return Path(str(files("clmethods"))) / "weights" / f"{SHIPPED[backbone.name]}.safetensors"
    if backbone.weights == "timm":
        return hub.cached_file(backbone.timm_name) or _downloaded(backbone)
    return Path(backbone.weights).expanduser()


def _downloaded(backbone: BackboneConfig) -> Path:
    name = backbone.timm_name
    if hub.offline():
        reason = "HF_HUB_OFFLINE disables the download."
    else:
        answer = ask_timm("fetch", name)
        if "file" in answer:
            return Path(answer["file"])
        reason = str(answer["refused"])
    allowed = f"weights in the hub's cache {hub.hub_cache()}"
    hint = (
        f"{reason} Download {hub.FILE} from the hub's repository {hub.repository(name)} on a "
        "machine with network access, copy it to this machine, and set `weights` to its path."
    )
    raise MissingWeightsError([ConfigIssue("backbone.weights", backbone.weights, allowed, hint)])


def _missing(backbone: BackboneConfig, path: Path) -> ConfigIssue:
    alias = ALIASES.get(backbone.name)
    hint = f"No file at {path}."
    if alias is not None:
        hint += f" {backbone.name} is {alias.file}."
    allowed = f"an existing {', '.join(FORMATS)} file"
    return ConfigIssue("backbone.weights", backbone.weights, allowed, hint)


def _recorded_sha256(path: Path) -> str:
    record = path.with_suffix(".json")
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError) as error:
        hint = f"{record.name} is missing or damaged: reinstall the package."
        raise InvalidConfigError(
            [ConfigIssue("backbone.weights", "shipped", "weights with a readable record", hint)]
        ) from error


@lru_cache(maxsize=32)
def _sha256(path: Path, modified_ns: int) -> str:
    with path.open("rb") as file:  # in blocks: real weights are large
        return hashlib.file_digest(file, "sha256").hexdigest()
