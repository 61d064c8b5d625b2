"""Runs and their metrics: accuracy, summaries, paired differences."""
