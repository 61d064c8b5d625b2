"""Catalog of known backbones and datasets: sizes, shapes and versions."""
