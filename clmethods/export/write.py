"""`export_model`: export of a finished chain to a folder for timm, PEFT and `ExportedModel`."""

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
from clmethods.checksummed_json import add_checksum, sha256
from clmethods.config import ReadoutConfig, new_task_to_dict, run_to_dict, unextended
from clmethods.export import preprocess
from clmethods.export.adapter import LayerFactors, layer_factors, write_adapter
from clmethods.export.export_check import (
    PREPROCESS,
    difference,
    expected_scores,
    file_checks,
    peft_network,
    peft_scores,
    refuse_difference,
    timm_scores,
)
from clmethods.export.finished_chain import ExportError, FinishedChain, Probe
from clmethods.export.model_card import model_card
from clmethods.export.predictor import DOCUMENT, EXPORT_FORMAT, ROUTING_ADAPTER, ExportedModel
from clmethods.export.router import Router
from clmethods.export.timm_folder import (
    classifier_names,
    read_config,
    read_network,
    unnormalized,
    write_network,
)
from clmethods.methods import LowRank
from clmethods.provenance import code_version

Format = Literal["timm", "peft"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Options of an export."""

    formats: Sequence[Format] = ("timm", "peft")
    """Formats for the readout `last`; a routed readout is exported as adapters and a router."""
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    max_rank: int | None = None
    """Maximum rank of a layer's adapter; larger ranks are truncated, and the error is reported."""
    chain: bool = True
    """Include the chain, so that the export can be extended. Its size is that of the stages."""
    weights_licence: str | None = None
    """License of the backbone's weights, for the model card."""


def export_model(archive: ModelArchive, out: Path, options: ExportOptions) -> dict[str, Any]:
    """Write the export to `out` and return the content of `export.json`.

    The export is written to a temporary folder, compared with the model by the target libraries,
    and then moved to `out`. Raises `ExportError` for options that the model does not support, and
    `ArchiveError` for a model that is not finished or is damaged.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is not empty: specify a new or an empty directory.")
    metrics = archive.metrics()
    chain = FinishedChain.of(archive, options.readout)
    _refuse_unusable(chain, options)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        checks = _write_networks(chain, temporary, options)
        document = {
            "format": EXPORT_FORMAT,
            "method": chain.run.method.kind,
            "routed": options.readout.routing != "last",
            "readout": asdict(options.readout),
            "classes": chain.classes,
            "class_names": chain.class_names,
            "cosine": chain.head().cosine,
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
        write(temporary / PREPROCESS, Path(preprocess.__file__).read_bytes())
        if options.chain:
            archive.copy_to(temporary / CARRIED)
        card = model_card(document, chain, options.weights_licence)
        write(temporary / "README.md", card.encode())
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        document["files"] = {
            path.relative_to(temporary).as_posix(): sha256(path.read_bytes()) for path in files
        }
        write(temporary / DOCUMENT, add_checksum(document, readable=True))
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return document


def _refuse_unusable(chain: FinishedChain, options: ExportOptions) -> None:
    kind = chain.run.method.kind
    routed = options.readout.routing != "last"
    if options.readout.routing == "oracle":
        raise ExportError("the readout oracle requires the true task, which is unknown in use.")
    if options.readout.routing == "batch":
        raise ExportError("a readout by batch requires batches of a single task, unknown in use.")
    if options.readout.routing not in chain.run.method.ROUTINGS:
        raise ExportError(
            f"{kind} supports the routings {list(chain.run.method.ROUTINGS)}, "
            f"not {options.readout.routing!r}."
        )
    if "peft" not in options.formats and not routed:
        return
    if find_spec("peft") is None:
        raise ExportError(
            "writing an adapter requires PEFT, which is not installed: "
            "pip install 'lorac-sweeps[export]', or use --format timm."
        )
    if chain.low_rank() is None:
        raise ExportError(
            f"{kind} has no low-rank form, so there is no adapter for PEFT: use --format timm."
        )
    if not chain.low_rank():
        raise ExportError(
            f"{kind} adapts no matrix in this run: only its head was trained. Use --format timm."
        )


def _write_networks(chain: FinishedChain, folder: Path, options: ExportOptions) -> dict[str, Any]:
    """Write all networks and the router; return the results of the comparisons by part."""
    probe = chain.probe()
    images = probe.images
    checks: dict[str, Any] = {"images": probe.description}
    routed = options.readout.routing != "last"
    head = chain.head()
    if "peft" in options.formats or routed:
        empty = type(head)(torch.zeros_like(head.weight), torch.zeros_like(head.bias))
        tensors = chain.backbone.tensors
        resize = chain.resizings[0]
        write_network(folder / "base", chain.backbone, tensors, empty, chain.class_names, resize)
    if routed:
        Router.of(chain).write(folder)
        for snapshot in range(chain.position + 1):
            adapter = folder / "snapshots" / str(snapshot)
            checks[f"snapshot {snapshot}"] = _write_adapter(
                chain, folder / "base", adapter, options.max_rank, images, snapshot
            )
        if chain.routing_moves:
            checks["router"] = _write_routing_adapter(chain, folder, options.max_rank, images)
        return checks | _route_checks(chain, folder, options, probe)
    if "timm" in options.formats:
        merged = chain.predictor().network.state_dict()
        resize, names = chain.resizings[0], chain.class_names
        write_network(folder / "timm", chain.backbone, merged, head, names, resize)
        error = difference(expected_scores(chain, images), timm_scores(folder / "timm", images))
        refuse_difference("timm", error)
        checks["timm"] = {"logit_difference": error}
    if "peft" in options.formats:
        checks["peft"] = _write_adapter(
            chain, folder / "base", folder / "peft", options.max_rank, images, chain.position
        )
    single = "timm" in options.formats
    base = folder / ("timm" if single else "base")
    network = read_network(base) if single else peft_network(base, folder / "peft")
    expected = chain.scores(images).argmax(dim=1)
    return checks | file_checks(base, probe, expected, lambda shown: network(shown).argmax(dim=1))


def _write_adapter(
    chain: FinishedChain,
    base: Path,
    folder: Path,
    max_rank: int | None,
    images: Tensor,
    snapshot: int,
) -> dict[str, Any]:
    expected = expected_scores(chain, images, snapshot)
    return _checked_adapter(
        chain, base, folder, max_rank, images, chain.low_rank(snapshot), expected
    )


def _write_routing_adapter(
    chain: FinishedChain, folder: Path, max_rank: int | None, images: Tensor
) -> dict[str, Any]:
    """Write the network that infers tasks, if it is not that of the first snapshot."""
    head, features = chain.head(), chain.routing_predictor().features(images)
    expected = torch.nn.functional.linear(features, head.weight, head.bias)
    updates = chain.routing_low_rank()
    base, adapter = folder / "base", folder / ROUTING_ADAPTER
    return _checked_adapter(chain, base, adapter, max_rank, images, updates, expected)


def _checked_adapter(
    chain: FinishedChain,
    base: Path,
    folder: Path,
    max_rank: int | None,
    images: Tensor,
    updates: LowRank | None,
    expected: Tensor,
) -> dict[str, Any]:
    """Write an adapter and compare its logits with `expected`."""
    if updates is None:
        raise ExportError(f"{chain.run.method.kind} has no low-rank form.")
    layers = layer_factors(updates, max_rank)
    write_adapter(folder, layers, chain.head(), classifier_names(chain.backbone))
    error = difference(expected, peft_scores(base, folder, images))
    cut = {name: layer.error for name, layer in layers.items() if layer.error > _EXACT}
    if not cut:
        refuse_difference("PEFT", error)
    return {"logit_difference": error, "ranks": _ranks(layers), "update_error": cut}


_EXACT = 1e-7
"""Threshold of a relative update error, below which it is rounding and not truncation."""


def _ranks(layers: dict[str, LayerFactors]) -> dict[str, int]:
    return {name: layer.rank for name, layer in layers.items()}


def _route_checks(
    chain: FinishedChain, folder: Path, options: ExportOptions, probe: Probe
) -> dict[str, Any]:
    """Count the probe images that the export routes and classifies as the model does.

    Images before resizing are classified too, see `file_checks`. Raises `ExportError` if resized
    images differ, unless ranks were truncated.
    """
    images = probe.images
    document = {"classes": chain.classes}
    exported = ExportedModel(folder, document, read_config(folder / "base"), Router.read(folder))
    routes = Router.of(chain).infer(chain.routing_predictor().features(images))
    expected = torch.empty(len(images), dtype=torch.int64)
    for snapshot in torch.unique(routes).tolist():
        chosen = routes == snapshot
        scores = chain.scores(images[chosen], snapshot)
        expected[chosen] = scores.argmax(dim=1)
    actual = exported.scores(images).argmax(dim=1)
    same = (exported.routes(images) == routes) & (actual == expected)
    if not same.all() and options.max_rank is None:
        raise ExportError("the export routes or classifies images differently from the model.")
    checks = {"routes": {"images": len(images), "equal": int(same.sum())}}
    return checks | file_checks(
        folder / "base",
        probe,
        expected,
        lambda shown: exported.scores(unnormalized(exported.config, shown)).argmax(dim=1),
    )
