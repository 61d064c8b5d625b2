"""Metrics of runs: accuracy matrices, summaries, replicates, paired differences, power."""
