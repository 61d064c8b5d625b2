"""Queries to timm in a subprocess: `python -m clmethods.nn.timm_subprocess COMMAND NAME`.

    facts ARCHITECTURE    the fields of `BackboneFacts`
    fetch NAME.TAG        {"file": path}, downloaded into the hub's cache
    fit BACKBONE          {"misfit": differences}, empty if the file fits; BACKBONE is JSON

Planning runs without torch, so it starts this subprocess. The answer is one JSON object, or
{"refused": reason}.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import timm
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from clmethods.catalog.facts import BackboneFacts
from clmethods.config.backbone import BackboneConfig
from clmethods.errors import nearest
from clmethods.nn.architecture import unfit
from clmethods.nn.backbone import untrained_network
from clmethods.nn.weights import misfit
from clmethods.user_data import hub_cache as hub


def facts(name: str) -> dict[str, object]:
    """Return the shape of a timm Vision Transformer, or the reason why it cannot be adapted."""
    if not timm.is_model(name):
        hint = nearest(name, timm.list_models(["*vit_*", "deit*"]))
        return {"refused": f"timm {timm.__version__} has no {name!r}. {hint}".strip()}
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False, num_classes=0)
    issues = unfit(network)
    if issues:
        return {"refused": f"{name} cannot be adapted: " + "; ".join(issues) + "."}
    block, patches = network.blocks[0], network.patch_embed
    width = block.attn.qkv.in_features
    return asdict(
        BackboneFacts(
            native_size=patches.img_size[0],
            patch_size=patches.patch_size[0],
            width=width,
            blocks=len(network.blocks),
            heads=block.attn.num_heads,
            mlp_ratio=block.mlp.fc1.out_features / width,
            timm=True,
            poolings=tuple(pool for pool in ("token", "avg") if _pools(name, pool)),
        )
    )


def _pools(name: str, pooling: str) -> bool:
    """Return True if timm builds the network with this pooling; timm asserts its requirements."""
    try:
        with torch.device("meta"):
            timm.create_model(name, pretrained=False, num_classes=0, global_pool=pooling)
    except AssertionError:
        return False
    return True


def fetch(name: str) -> dict[str, object]:
    """Download the weights of a tag into the hub's cache and return the path, or a refusal."""
    if name not in timm.list_pretrained():
        architecture = name.partition(".")[0]
        known = sorted(timm.list_pretrained(f"{architecture}.*"))
        return {"refused": f"timm {timm.__version__} has no weights {name}, only {known}."}
    try:
        return {"file": hf_hub_download(hub.repository(name), hub.FILE)}
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        return {"refused": f"The hub cannot be reached ({type(error).__name__})."}


def fit(backbone: str) -> dict[str, object]:
    """Compare names and shapes of the file `weights` of a backbone with its network."""
    config = BackboneConfig(**json.loads(backbone))
    with torch.device("meta"):
        network = untrained_network(config, config.facts)
    return {"misfit": misfit(config, Path(config.weights), network)}


if __name__ == "__main__":
    command, name = sys.argv[1:]
    sys.stdout.write(json.dumps({"facts": facts, "fetch": fetch, "fit": fit}[command](name)))
