"""Execution of sweeps on Ray. The stage store, not Ray Tune, is the system of record."""
