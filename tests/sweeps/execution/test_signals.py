"""Effect of a signal on a sweep that runs in this process."""

from __future__ import annotations

import signal

import pytest

from sweeps.execution.signals import HANDLED, draining


@pytest.mark.parametrize("number", HANDLED)
def test_once_is_noticed_and_twice_ends(number: signal.Signals) -> None:
    heard: list[bool] = []

    def drain() -> bool:
        heard.append(not heard)
        return heard[-1]

    before = [signal.getsignal(each) for each in HANDLED]
    with draining(drain):
        signal.raise_signal(number)
        assert heard == [True]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert heard == [True, False]
    assert [signal.getsignal(each) for each in HANDLED] == before


def test_handlers_are_put_back_after_a_fault() -> None:
    before = [signal.getsignal(each) for each in HANDLED]
    with pytest.raises(ZeroDivisionError), draining(lambda: True):
        _ = 1 / 0
    assert [signal.getsignal(each) for each in HANDLED] == before
