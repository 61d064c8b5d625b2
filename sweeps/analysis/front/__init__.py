"""The Pareto front: membership, probability, hypervolume."""
