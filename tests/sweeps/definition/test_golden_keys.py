"""Ids and stage keys of the shipped studies are what they were, whatever plans them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sweeps.definition import expand
from tests.sweeps.definition.file.test_shipped_studies import loaded

DIGESTS = {
    "cifar100_composition": "045a0fbb25ce1fde",
    "cifar100_importance": "d0b3ffd91b5b7b1b",
    "cifar100_ipc": "edf1f0bbd826990b",
    "cifar100_moco1k": "8b65cdc3deee3d82",
    "cifar100_orthogonality": "0c21645ffdfa1c09",
    "cifar100_sites": "affcb7c9f5a0ec12",
    "cifar100_sup21k": "781d4c149e338246",
    "cifar100_sup21k_augreg": "9c52835125829a8c",
    "cifar100_tii": "441fb8f8159c136f",
    "digits_demo": "1ba6c6d14c0ddff4",
    "domainnet_moco1k": "2c50e3d15fb689f7",
    "domainnet_sup21k": "2c50e3d15fb689f7",
    "domainnet_sup21k_augreg": "2c50e3d15fb689f7",
    "five_datasets_moco1k": "02608150d3f28185",
    "five_datasets_sup21k": "02608150d3f28185",
    "five_datasets_sup21k_augreg": "02608150d3f28185",
    "glyph100_parts": "22ae030f53d0f8db",
    "imagenet_r_moco1k": "ae09b6d21da7a8d8",
    "imagenet_r_sup21k": "71fa01980b2100fa",
    "imagenet_r_sup21k_augreg": "566f41d937397933",
}
"""Over all trials of a study, with stand-ins for its weights.

Keys of stages on a GPU contain the version of the computation there. Those on a CPU are as before
that version was introduced.
"""


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_ids_and_keys_of_a_study(name: str, tmp_path: Path) -> None:
    found = hashlib.sha256()
    for trial in expand(loaded(name, tmp_path)):
        ids = [trial.trial_id, trial.config_id, trial.order_id]
        for text in [*ids, *(stage.key for stage in trial.chain)]:
            found.update(text.encode())
    assert found.hexdigest()[:16] == DIGESTS[name]
