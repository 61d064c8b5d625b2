"""Distributed sweeps over continual-learning runs: plan, schedule, store, analyse."""
