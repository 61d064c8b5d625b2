"""Sweeps derived from other sweeps: forks and path sweeps; divergence of two trials."""
