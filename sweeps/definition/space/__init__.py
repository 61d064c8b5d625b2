"""Search space: axes, conditions, sampling, and the resulting configurations."""
