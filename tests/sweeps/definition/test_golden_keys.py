"""Ids and stage keys of the shipped studies are what they were, whatever plans them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sweeps.definition import expand
from tests.sweeps.definition.file.test_shipped_studies import loaded

DIGESTS = {
    "cifar100_composition": "69250af16be1e415",
    "cifar100_importance": "571bd5c11595481c",
    "cifar100_ipc": "9d4e15daeeea804b",
    "cifar100_moco1k": "5f60801ce87307b3",
    "cifar100_orthogonality": "f9e4ff08ac152d1b",
    "cifar100_sites": "37f80ac4272f9832",
    "cifar100_sup21k": "4e027b50d5efdc9c",
    "cifar100_sup21k_augreg": "8f1e6d79b0e8aee1",
    "cifar100_tii": "da99b01861cd2d6b",
    "digits_demo": "09c68f62d791fcd6",
    "domainnet_moco1k": "ac05c4283b793155",
    "domainnet_sup21k": "ac05c4283b793155",
    "domainnet_sup21k_augreg": "ac05c4283b793155",
    "five_datasets_moco1k": "30a79b215d9b6294",
    "five_datasets_sup21k": "30a79b215d9b6294",
    "five_datasets_sup21k_augreg": "30a79b215d9b6294",
    "glyph100_parts": "22ae030f53d0f8db",
    "imagenet_r_moco1k": "e12bbe572743ecd9",
    "imagenet_r_sup21k": "db39c1ac8d4a087f",
    "imagenet_r_sup21k_augreg": "ee9f669f2fa3c466",
}
"""Over all trials of a study, with stand-ins for its weights."""


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_ids_and_keys_of_a_study(name: str, tmp_path: Path) -> None:
    found = hashlib.sha256()
    for trial in expand(loaded(name, tmp_path)):
        ids = [trial.trial_id, trial.config_id, trial.order_id]
        for text in [*ids, *(stage.key for stage in trial.chain)]:
            found.update(text.encode())
    assert found.hexdigest()[:16] == DIGESTS[name]
