"""Sequential decisions of a sweep, computed from stored results: proposals, rungs and races."""
