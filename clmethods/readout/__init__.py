"""Readouts: rules that derive predictions from a trained chain. Training never depends on them."""
