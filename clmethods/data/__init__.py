"""Datasets, their splits, and streams of tasks."""
