"""Readouts: how a prediction is read from a trained chain. Training never depends on them."""
