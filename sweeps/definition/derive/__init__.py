"""Sweeps derived from others: forks, path sweeps, and where two trials diverge."""
