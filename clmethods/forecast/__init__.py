"""Forecasts of what a run stores and needs in memory, from shapes alone."""
