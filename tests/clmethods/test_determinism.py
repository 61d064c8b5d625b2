"""Settings of a process before a stage, whatever it did before."""

from __future__ import annotations

import torch

from clmethods.config import TrainConfig
from clmethods.determinism import open_run, prepare_process
from tests.clmethods.runs import tiny_run


def test_a_process_starts_every_stage_alike() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    prepare_process(TrainConfig())
    assert torch.get_num_threads() == 1
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert torch.are_deterministic_algorithms_enabled()


def test_runs_of_one_backbone_share_its_tensors() -> None:
    one, two = open_run(tiny_run(seed=1))[0], open_run(tiny_run(seed=2))[0]
    assert one is two
    assert open_run(tiny_run(precision="float32"))[0] is not one
