"""Datasets and class-incremental streams over them."""
