"""export_model: a finished chain to a folder that timm, PEFT and `ExportedModel` read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor

from clmethods.archive import CARRIED, ModelArchive, write
from clmethods.checksummed_json import sealed, sha256
from clmethods.config import ReadoutConfig, new_task_to_dict, run_to_dict, unextended
from clmethods.export.adapter import LayerFactors, layer_factors, write_adapter
from clmethods.export.finished_chain import ExportError, Subject
from clmethods.export.model_card import model_card
from clmethods.export.predictor import DOCUMENT, EXPORT_FORMAT, ExportedModel
from clmethods.export.router import Router
from clmethods.export.timm_folder import read_config, write_network
from clmethods.export.verification import (
    difference,
    expected_scores,
    peft_scores,
    refuse_difference,
    timm_scores,
)
from clmethods.methods import LowRank
from clmethods.provenance import code_version

Format = Literal["timm", "peft"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What to write."""

    formats: Sequence[Format] = ("timm", "peft")
    """Of the readout `last`; a routed readout is adapters and a router."""
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    max_rank: int | None = None
    """Rank of a layer's adapter beyond which it is cut, and the error reported."""
    chain: bool = True
    """Carry the chain too, so that the export can be extended. It takes what its stages take."""
    weights_licence: str | None = None
    """Licence of the backbone's weights, for the model card."""


def export_model(archive: ModelArchive, out: Path, options: ExportOptions) -> dict[str, Any]:
    """Write the export to `out` and return what `export.json` says.

    It is written aside, compared with the model by the libraries that it is for, and only then
    put in place. Raises `ExportError` for what cannot be exported, `ArchiveError` for a model that
    is not finished or is damaged.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is not empty: name a new or an empty directory.")
    metrics = archive.metrics()
    subject = Subject.of(archive, options.readout)
    _refuse_unusable(subject, options)
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        checks = _write_networks(subject, aside, options)
        document = {
            "format": EXPORT_FORMAT,
            "method": subject.run.method.kind,
            "routed": options.readout.routing != "last",
            "readout": asdict(options.readout),
            "classes": subject.classes,
            "cosine": subject.head().cosine,
            "checks": checks,
            "run": run_to_dict(unextended(archive.run)[0]),
            "added": [new_task_to_dict(task) for task in unextended(archive.run)[1]],
            "stages": [stage.key for stage in archive.chain],
            "metrics": metrics.splits,
            "trained_by": archive.costs(),
            "chain": options.chain,
            "code_version": code_version(),
            "versions": {name: version(name) for name in ("torch", "timm", "safetensors")},
        }
        if options.chain:
            archive.copy_to(aside / CARRIED)
        card = model_card(document, subject, options.weights_licence)
        write(aside / "README.md", card.encode())
        files = sorted(path for path in aside.rglob("*") if path.is_file())
        document["files"] = {
            path.relative_to(aside).as_posix(): sha256(path.read_bytes()) for path in files
        }
        write(aside / DOCUMENT, sealed(document, readable=True))
        if out.exists():
            out.rmdir()
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return document


def _refuse_unusable(subject: Subject, options: ExportOptions) -> None:
    kind = subject.run.method.kind
    routed = options.readout.routing != "last"
    if options.readout.routing == "oracle":
        raise ExportError("the readout oracle is told the true task, which nobody knows in use.")
    if options.readout.routing == "batch":
        raise ExportError("a batch-wise readout needs test batches of one task, unknown in use.")
    if options.readout.routing not in subject.run.method.ROUTINGS:
        raise ExportError(
            f"{kind} has the routings {list(subject.run.method.ROUTINGS)}, "
            f"not {options.readout.routing!r}."
        )
    if "peft" not in options.formats and not routed:
        return
    if find_spec("peft") is None:
        raise ExportError(
            "an adapter is written and checked by PEFT, which is not installed: "
            "pip install 'lorac-sweeps[export]', or export --format timm."
        )
    if subject.low_rank() is None:
        raise ExportError(
            f"{kind} has no low-rank form, so there is no adapter for PEFT: export --format timm."
        )
    if not subject.low_rank():
        raise ExportError(
            f"{kind} adapts no matrix here: its network is the backbone, and all that it learned "
            "is in the head. Export --format timm."
        )


def _write_networks(subject: Subject, folder: Path, options: ExportOptions) -> dict[str, Any]:
    """Everything but documents; what the comparison with the model showed, by part."""
    images, what = subject.probe()
    checks: dict[str, Any] = {"images": what}
    routed = options.readout.routing != "last"
    head = subject.head()
    if "peft" in options.formats or routed:
        empty = type(head)(torch.zeros_like(head.weight), torch.zeros_like(head.bias))
        tensors = subject.backbone.tensors
        write_network(folder / "base", subject.backbone, tensors, empty, subject.classes)
    if routed:
        Router.of(subject).write(folder)
        for snapshot in range(subject.position + 1):
            adapter = folder / "snapshots" / str(snapshot)
            checks[f"snapshot {snapshot}"] = _write_adapter(
                subject, folder / "base", adapter, options.max_rank, images, snapshot
            )
        checks["routes"] = _route_check(subject, folder, options, images)
        return checks
    if "timm" in options.formats:
        merged = subject.predictor().network.state_dict()
        write_network(folder / "timm", subject.backbone, merged, head, subject.classes)
        found = difference(expected_scores(subject, images), timm_scores(folder / "timm", images))
        refuse_difference("timm", found)
        checks["timm"] = {"logit_difference": found}
    if "peft" in options.formats:
        checks["peft"] = _write_adapter(
            subject, folder / "base", folder / "peft", options.max_rank, images, subject.position
        )
    return checks


def _write_adapter(
    subject: Subject,
    base: Path,
    folder: Path,
    max_rank: int | None,
    images: Tensor,
    snapshot: int,
) -> dict[str, Any]:
    updates: LowRank | None = subject.low_rank(snapshot)
    if updates is None:
        raise ExportError(f"{subject.run.method.kind} has no low-rank form.")
    layers = layer_factors(updates, max_rank)
    write_adapter(folder, layers, subject.head())
    expected = expected_scores(subject, images, snapshot)
    found = difference(expected, peft_scores(base, folder, images))
    cut = {name: layer.error for name, layer in layers.items() if layer.error > _EXACT}
    if not cut:
        refuse_difference("PEFT", found)
    return {"logit_difference": found, "ranks": _ranks(layers), "update_error": cut}


_EXACT = 1e-7
"""A relative error of an update below this is rounding, not a cut."""


def _ranks(layers: dict[str, LayerFactors]) -> dict[str, int]:
    return {name: layer.rank for name, layer in layers.items()}


def _route_check(
    subject: Subject, folder: Path, options: ExportOptions, images: Tensor
) -> dict[str, Any]:
    """How many of the probe's images the folder alone routes and classifies as the model does.

    Raises `ExportError` if it is not all of them, unless ranks were cut.
    """
    document = {"classes": subject.classes}
    exported = ExportedModel(folder, document, read_config(folder / "base"), Router.read(folder))
    routes = Router.of(subject).infer(subject.predictor(0).features(images))
    expected = torch.empty(len(images), dtype=torch.int64)
    for snapshot in torch.unique(routes).tolist():
        chosen = routes == snapshot
        own = subject.scores(images[chosen], snapshot)
        expected[chosen] = exported.classes[own.argmax(dim=1)]
    same = (exported.routes(images) == routes) & (exported.predict(images) == expected)
    if not same.all() and options.max_rank is None:
        raise ExportError("the exported router does not route as the model does.")
    return {"images": len(images), "equal": int(same.sum())}
