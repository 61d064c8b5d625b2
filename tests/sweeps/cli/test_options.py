"""Options with numbers: what is refused before anything is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from sweeps.cli.commands.run import LONGEST_LEASE_S
from sweeps.stages.leases import LONGEST_LIFE_S


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0.4", "0", "-1", "86401", "1e12"])
@pytest.mark.parametrize("command", ["run no.yaml --storage {} --lease-ttl", "status {} --watch"])
def test_a_time_that_cannot_be_waited_for_is_refused(
    sweeps_command: Callable[..., Result], tmp_path: Path, command: str, value: str
) -> None:
    storage = tmp_path / "storage"
    result = sweeps_command(*command.format(storage).split(), value)
    assert result.exit_code == 2
    assert command.split()[-1] in result.output
    assert "range" in result.output or "finite" in result.output
    assert "Traceback" not in result.output
    assert not storage.exists()


def test_leases_accept_what_the_command_accepts() -> None:
    assert LONGEST_LEASE_S == LONGEST_LIFE_S
