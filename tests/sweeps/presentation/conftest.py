"""Fixtures of the tests of presentation."""

from tests.sweeps.analysis.conftest import study

__all__ = ["study"]
