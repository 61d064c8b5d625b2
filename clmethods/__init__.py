"""Continual learning with LoRA on frozen Vision Transformers: LoRAC-IPC and its baselines.

Shape letters used in comments throughout the package:

    B batch      N tokens     D width      a fan-in      b fan-out
    r rank       K modules    C classes    T tasks       M adapted matrices

This file imports nothing, so that `clmethods.metrics` and `clmethods.config` stay light.
"""

__version__ = "0.1.0"
