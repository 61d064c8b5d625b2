"""Selection of a network in a weights file that may contain several networks and other parts."""

from __future__ import annotations

import re

from torch import Tensor

from clmethods.nn.weight_files.reader import StoredTensors, WeightsError

ANCHOR = "patch_embed.proj.weight"
"""Tensor by which a Vision Transformer is recognized."""

OPTIMIZER = re.compile(r"(.*\.)?optim\w*\.")
"""Prefixes of the state of an optimizer, which may be stored by the names of the parameters."""

TEACHER = "teacher."
"""End of the prefix of a teacher, which self-supervised methods publish beside a student."""

TOP_LEVEL = "."
"""Name of a network whose tensors have no prefix."""

NOT_BACKBONE = re.compile(
    r"(module\.)?(head|head_dist|fc|pre_logits|projector|predictor|momentum_encoder|mask_token"
    r"|attn_pool|decoder_\w+|classifier|criterion|loss\w*)(\.|$)"
)
"""Names of tensors that are not part of the backbone: heads, losses, and parts that only
pre-training uses. MoCo v3 has a base and a momentum encoder; its evaluation reads the base
encoder."""


def network_in(stored: StoredTensors, chosen: str | None) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of one network by its own names, and the names of all others.

    `chosen` is the prefix of the network's tensors; by default, the file must contain only one
    network, except where it is known which of several is used: the teacher beside a student, and
    a base encoder beside its momentum encoder. In particular, trained weights and their moving
    average (EMA) are two networks: programs differ in which of them they read.
    Raises `WeightsError`.
    """
    prefixes = [n.removesuffix(ANCHOR) for n in stored.tensors if _is_anchor(n)]
    prefix = _prefix(prefixes, stored.start, chosen)
    nested = tuple(p for p in prefixes if p != prefix and p.startswith(prefix))
    own: dict[str, Tensor] = {}
    others: list[str] = []
    for name, tensor in stored.tensors.items():
        if name.startswith(prefix) and not name.startswith(nested):
            own[name.removeprefix(prefix)] = tensor
        elif name.startswith(stored.start):
            others.append(name.removeprefix(stored.start))
    return own, others


def _prefix(prefixes: list[str], start: str, chosen: str | None) -> str:
    if chosen is not None:
        chosen_prefix = "" if chosen == TOP_LEVEL else f"{chosen.rstrip('.')}."
        if chosen_prefix not in prefixes:
            raise WeightsError(
                f"weights_network is {chosen!r}, allowed: one of {_names(prefixes)}"
            )
        return chosen_prefix
    student = f"{start.removesuffix(TEACHER)}student." if start.endswith(TEACHER) else None
    usual = [
        prefix
        for prefix in prefixes
        if not NOT_BACKBONE.match(prefix.removeprefix(start))
        and not OPTIMIZER.match(prefix)
        and (student is None or not prefix.startswith(student))
    ]
    found = usual or prefixes
    if len(found) > 1:
        raise WeightsError(
            f"the file contains {len(found)} networks; set weights_network to one of "
            f"{_names(found)}"
        )
    return found[0] if found else start


def _is_anchor(name: str) -> bool:
    return name == ANCHOR or name.endswith(f".{ANCHOR}")


def _names(prefixes: list[str]) -> list[str]:
    return sorted(prefix.rstrip(".") or TOP_LEVEL for prefix in prefixes)
