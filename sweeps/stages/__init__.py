"""Stages in a storage: the stage store, leases, and rows of the result tables."""
