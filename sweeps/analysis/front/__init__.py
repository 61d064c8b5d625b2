"""Pareto front: membership, membership probability, hypervolume."""
