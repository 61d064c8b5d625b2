"""`ExportedModel`: class ids from uint8 images, using only the folder of an export.

EXPORT/
  export.json                description of the export, and the checksum of every other file
  README.md                  model card
  preprocess.py              exact preprocessing of image files
  timm/                      merged weights: config.json, model.safetensors
  base/                      the base network of the adapters, with a zero head
  peft/                      adapter_config.json, adapter_model.safetensors
  snapshots/POSITION/        an adapter per task, of a routed export
  snapshots/routing/         the network that infers tasks, if it is not snapshot 0
  router.json, .safetensors  the router, which assigns images to adapters
  chain/                     the model directory, from which training can continue
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from timm.models import VisionTransformer
from torch import Tensor

from clmethods.checksummed_json import sha256, verify_checksum
from clmethods.export.adapter import read_updates
from clmethods.export.finished_chain import ExportError
from clmethods.export.router import Router
from clmethods.export.timm_folder import pixels, read_config, read_network
from clmethods.nn.backbone import features

DOCUMENT = "export.json"
EXPORT_FORMAT = 1
"""Version of the layout of an export; increased when the layout changes."""
ROUTING_ADAPTER = "snapshots/routing"
BATCH = 256
SINGLE, ROUTING = -1, -2
"""Keys of networks that are not snapshots: the only network, and the one that infers tasks."""


@final
@dataclass(slots=True, eq=False)
class ExportedModel:
    """Classifier over original class ids. A snapshot is merged when it is first used."""

    folder: Path
    document: dict[str, Any]
    config: dict[str, Any]
    router: Router | None
    device: str = "cpu"
    _networks: dict[int, VisionTransformer] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> ExportedModel:
        """Load an export. Raises `ExportError` if the folder is not an export or is damaged."""
        document = read_document(folder)
        base = folder / ("timm" if (folder / "timm").is_dir() else "base")
        router = Router.read(folder) if document["routed"] else None
        return cls(folder, document, read_config(base), router, device)

    @property
    def classes(self) -> Tensor:
        """Original class ids (C,) by row of the head."""
        return torch.tensor(self.document["classes"])

    @property
    def class_names(self) -> list[str]:
        """Class names by row of the head; ids in exports of earlier versions."""
        ids = [str(label) for label in self.document["classes"]]
        return list(self.document.get("class_names", ids))

    def predict(self, images: Tensor) -> Tensor:
        """Return original class ids (n,) of uint8 images (n, H, W) or (n, H, W, 3)."""
        return self.classes[self.scores(images).argmax(dim=1)]

    def scores(self, images: Tensor, routes: Tensor | None = None) -> Tensor:
        """Return logits (n, C); in a routed export, each image is scored by its own snapshot.

        `routes` (n,) are the snapshots, by default those of `routes(images)`.
        """
        if self.router is None:
            return self._run(images, lambda pixels: self._network(None)(pixels))
        routes = self.routes(images) if routes is None else routes
        logits = torch.empty(len(images), len(self.document["classes"]))
        for snapshot in torch.unique(routes).tolist():
            chosen = routes == snapshot
            network = self._network(snapshot)
            logits[chosen] = self._run(images[chosen], network)
        return logits

    def routes(self, images: Tensor) -> Tensor:
        """Return the position (n,) of the snapshot of each image.

        Raises `ExportError` for an export without a router.
        """
        if self.router is None:
            raise ExportError(f"{self.folder} has a single network and no router.")
        first = self._routing_network()
        return self.router.infer(self._run(images, lambda x: features(first, x)))

    @torch.no_grad()
    def _run(self, images: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        batches = torch.split(images, BATCH)
        return torch.cat(
            [network(pixels(self.config, batch).to(self.device)).cpu() for batch in batches]
        )

    def _routing_network(self) -> VisionTransformer:
        """Return the network that infers tasks: that at the end of the first task."""
        adapter = self.folder / ROUTING_ADAPTER
        if not adapter.is_dir():
            return self._network(0)
        if ROUTING not in self._networks:
            network = merged(self.folder / "base", adapter)
            self._networks[ROUTING] = network.to(self.device)
        return self._networks[ROUTING]

    def _network(self, snapshot: int | None) -> VisionTransformer:
        key = SINGLE if snapshot is None else snapshot
        if key not in self._networks:
            if snapshot is not None:
                adapter = self.folder / "snapshots" / str(snapshot)
                self._networks[key] = merged(self.folder / "base", adapter)
            elif (self.folder / "timm").is_dir():
                self._networks[key] = read_network(self.folder / "timm")
            else:
                self._networks[key] = merged(self.folder / "base", self.folder / "peft")
            self._networks[key].to(self.device)
        return self._networks[key]


def merged(base: Path, adapter: Path) -> VisionTransformer:
    """Return the base network with an adapter's updates added to its weights, and its head."""
    network = read_network(base)
    updates, head = read_updates(adapter)
    with torch.no_grad():
        for name, update in updates.items():
            weight = network.get_submodule(name).weight
            weight.copy_(weight.double() + update)
        for name, tensor in head.items():
            network.get_parameter(name).copy_(tensor)
    return network


def read_document(folder: Path) -> dict[str, Any]:
    """Return `export.json` after checking every file that it lists. Raises `ExportError`."""
    path = folder / DOCUMENT
    if not path.is_file():
        raise ExportError(
            f"{folder} is not an export: it has no {DOCUMENT}. "
            "`clmethods export MODEL -o DIRECTORY` creates one."
        )
    document: dict[str, Any] | None = verify_checksum(path.read_bytes())
    if document is None:
        raise ExportError(f"{path} is damaged: its checksum does not match its content.")
    if document["format"] != EXPORT_FORMAT:
        raise ExportError(
            f"{folder} has format {document['format']}, this version reads {EXPORT_FORMAT}."
        )
    for name, checksum in document["files"].items():
        file = folder / name
        if not file.is_file():
            raise ExportError(f"{file} is missing: it is part of the export.")
        if sha256(file.read_bytes()) != checksum:
            raise ExportError(f"{file} is damaged: its checksum differs from {DOCUMENT}.")
    return document
