"""Factors of an adapter: exact up to the rank that a matrix has, the best beyond it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clmethods.export.adapter import layer_factors, reduced
from clmethods.nn.adapted_networks import Matrix

SIZES = st.integers(1, 9)


def drawn(rank: int, fan_in: int, fan_out: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, fan_in, generator=generator, dtype=torch.float64)
    return a, torch.randn(fan_out, rank, generator=generator, dtype=torch.float64)


@given(SIZES, SIZES, SIZES, st.integers(0, 99))
def test_a_rank_above_the_matrix_is_brought_down_exactly(
    rank: int, fan_in: int, fan_out: int, seed: int
) -> None:
    a, b = drawn(rank, fan_in, fan_out, seed)
    layer = reduced(a, b)
    assert layer.rank == min(rank, fan_in, fan_out)
    assert layer.a.shape == (layer.rank, fan_in)
    assert layer.b.shape == (fan_out, layer.rank)
    assert layer.error == 0.0
    torch.testing.assert_close(layer.b @ layer.a, b @ a)


@given(SIZES, SIZES, SIZES, st.integers(0, 99), st.integers(1, 9))
def test_a_reduced_rank_is_the_best_approximation_and_its_error_is_reported(
    rank: int, fan_in: int, fan_out: int, seed: int, cap: int
) -> None:
    """Eckart and Young: no matrix of that rank is nearer, and the rest is the other values."""
    a, b = drawn(rank, fan_in, fan_out, seed)
    layer = reduced(a, b, cap)
    assert layer.rank <= cap
    values = torch.linalg.svdvals(b @ a)
    lost = (layer.b @ layer.a - b @ a).norm()
    torch.testing.assert_close(lost, values[cap:].norm(), atol=1e-10, rtol=0)
    torch.testing.assert_close(layer.error, float(lost / values.norm()), atol=1e-10, rtol=0)


def test_an_update_of_zero_has_no_error() -> None:
    layer = reduced(torch.ones(4, 2), torch.zeros(3, 4), 1)
    assert layer.error == 0.0
    assert not (layer.b @ layer.a).any()


def test_query_key_and_value_are_blocks_of_one_layer() -> None:
    """q and v alone, of different ranks: the rows of k stay zero."""
    query, value = drawn(2, 6, 6, 0), drawn(1, 6, 6, 1)
    output = drawn(3, 6, 6, 2)
    updates = {Matrix(1, "q"): query, Matrix(1, "v"): value, Matrix(0, "o"): output}
    layers = layer_factors(updates)
    assert set(layers) == {"blocks.1.attn.qkv", "blocks.0.attn.proj"}
    fused = layers["blocks.1.attn.qkv"]
    assert fused.rank == 3
    expected = torch.cat(
        [query[1] @ query[0], torch.zeros(6, 6, dtype=torch.float64), value[1] @ value[0]]
    )
    torch.testing.assert_close(fused.b @ fused.a, expected)
    other = layers["blocks.0.attn.proj"]
    torch.testing.assert_close(other.b @ other.a, output[1] @ output[0])
