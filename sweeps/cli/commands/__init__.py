"""The commands of `sweeps`."""
