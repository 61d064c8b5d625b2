"""Training of one stage and of a whole sequence of stages."""
