"""States as bytes: the same bits back, the same bytes for equal states, damage noticed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clmethods.checkpoint import DamagedStateError, fold, state_from_bytes, state_to_bytes
from clmethods.checksummed_json import sha256
from tests.clmethods.runs import Trained, differences

names = st.text("abc.01", min_size=1, max_size=8)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.bool, torch.int64])


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return (torch.randn(shape, generator=generator) * 3).to(draw(dtypes))


@given(st.dictionaries(names, tensors(), max_size=6))
def test_bits_survive_and_equal_states_have_equal_bytes(state: dict[str, torch.Tensor]) -> None:
    data = state_to_bytes(state)
    assert differences(state_from_bytes(data), state) == []
    turned_round = dict(reversed(state.items()))
    assert state_to_bytes(turned_round) == data
    assert b"__metadata__" not in data


def test_views_and_transposes_are_stored_as_they_look() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    state = {"view": base[1:, ::2], "turned": base.T}
    assert differences(state_from_bytes(state_to_bytes(state)), state) == []


def test_a_trained_state_survives(lorac: Trained) -> None:
    for delta in lorac.deltas:
        assert differences(state_from_bytes(state_to_bytes(delta)), delta) == []


@pytest.mark.parametrize("cut", [0, 1, 7, 40, -1])
def test_cut_bytes_are_refused(lorac: Trained, cut: int) -> None:
    with pytest.raises(DamagedStateError):
        state_from_bytes(state_to_bytes(lorac.deltas[0])[:cut])


def test_later_deltas_win() -> None:
    one, two = torch.tensor(1), torch.tensor(2)
    assert fold([]) == {}
    assert fold([{"a": one, "b": one}, {"b": two}]) == {"a": one, "b": two}


def test_the_digest_is_sha256() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256(b"") == empty
