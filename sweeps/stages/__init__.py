"""Stages that trials share: the tree of a sweep, and who computes which stage."""
