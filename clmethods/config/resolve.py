"""From a run as written to a run that says everything: weights become checksums."""

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
from clmethods.errors import ConfigIssue, InvalidConfigError, require
from clmethods.user_data import hub_cache as hub

SHIPPED = {"nano_vit32": "nano_vit32"}
"""File stem below `clmethods/weights/` of the backbones that ship."""

CIFAR_IN_REFERENCE = ("vit_base_patch16_224.orig_in21k", "cifar100")
"""The one pair of weights and dataset whose pixels the public code standardises, with CIFAR's
statistics; all others stay in [0, 1], whatever the weights expect (docs/method.md section 10)."""


class MissingWeightsError(InvalidConfigError):
    """Weights that are not here; all else of the run may be sound."""


def resolve(run: RunConfig, *, without_weights: bool = False) -> RunConfig:
    """The run with its weights' checksum, its data's facts, its task order and `normalise: ref`.

    Raises `InvalidConfigError` when weights are not those that were asked for, and its subclass
    `MissingWeightsError` when they are missing. `without_weights` does not look for them: their
    path stands for their checksum, so that stages can be counted but none is ever found.
    """
    backbone = run.backbone if without_weights else resolve_backbone(run.backbone)
    if backbone.normalise == "ref":
        pair = (backbone.timm_name, run.stream.dataset)
        backbone = replace(backbone, normalise="cifar" if pair == CIFAR_IN_REFERENCE else "none")
    return replace(run, backbone=backbone, stream=resolve_stream(run.stream))


def resolve_stream(stream: StreamConfig) -> StreamConfig:
    """The stream with its order spelt out, absolute paths, and what is known of one's own data.

    What a run recorded is kept: it can be read where the data is not, and before anything is
    trained the data must still agree.
    """
    if isinstance(stream, ExtendedStream):
        added = replace(stream.added, stream=resolve_stream(stream.added.stream))
        base = resolve_stream(stream.base)
        return replace(stream, base=base, added=added, task_order=stream.order)
    listing = stream.listing() if stream.record is None else None
    return replace(
        stream,
        task_order=stream.order,
        # absolute, because a worker may run in another directory
        root=_absolute(stream.root),
        manifest=_absolute(stream.manifest),
        split_file=_absolute(stream.split_file),
        record=stream.record if listing is None else listing.facts,
        split_version=stream.split_id(),
    )


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def resolve_backbone(backbone: BackboneConfig) -> BackboneConfig:
    """The backbone with the checksum of its weights filled in, or checked if it was given."""
    if backbone.weights == "random":
        return replace(backbone, weights_sha256=None)
    path = weights_path(backbone)
    if not path.is_file():
        raise MissingWeightsError([_missing(backbone, path)])
    actual = _sha256(path, path.stat().st_mtime_ns)
    expected = backbone.weights_sha256
    if expected is None and backbone.weights == "shipped":
        expected = _recorded_sha256(path)
    issue = require(
        expected in {None, actual},
        "backbone.weights",
        backbone.weights,
        f"a file with SHA-256 {expected}",
        f"{path.name} has {actual}: restore the file, or correct weights_sha256.",
    )
    if issue is not None:
        raise InvalidConfigError([issue])
    if backbone.weights in {"shipped", "timm"}:  # each host has its own copy
        return replace(backbone, weights_sha256=actual)
    # absolute, because a worker may run in another directory
    return replace(backbone, weights=str(path.resolve()), weights_sha256=actual)


def weights_path(backbone: BackboneConfig) -> Path:
    """The file that holds the weights of a backbone that is not random.

    With `weights: timm` it is downloaded if it is not in the hub's local cache and the hub can be
    reached. Raises `InvalidConfigError` if it cannot.
    """
    if backbone.weights == "shipped":
        return Path(str(files("clmethods"))) / "weights" / f"{SHIPPED[backbone.name]}.safetensors"
    if backbone.weights == "timm":
        return hub.cached_file(backbone.timm_name) or _downloaded(backbone)
    return Path(backbone.weights).expanduser()


def _downloaded(backbone: BackboneConfig) -> Path:
    name = backbone.timm_name
    if hub.offline():
        reason = "HF_HUB_OFFLINE forbids to download it."
    else:
        answer = ask_timm("fetch", name)
        if "file" in answer:
            return Path(answer["file"])
        reason = str(answer["refused"])
    allowed = f"weights in the hub's cache {hub.hub_cache()}"
    hint = (
        f"{reason} Where there is a network, download {hub.FILE} of the hub's repository "
        f"{hub.repository(name)}, bring it here, and give `weights` its path."
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
