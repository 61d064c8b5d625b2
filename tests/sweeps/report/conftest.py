"""Reports of small sweeps."""

from tests.sweeps.cli.conftest import finished, sweeps_command

__all__ = ["finished", "sweeps_command"]
