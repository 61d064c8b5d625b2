"""Forecasts of the storage and memory that a run needs, computed from tensor shapes."""
