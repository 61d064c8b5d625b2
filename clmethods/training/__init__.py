"""Training: one stage, and a whole sequence of stages."""
