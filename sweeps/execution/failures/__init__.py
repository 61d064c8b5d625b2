"""Causes of failed trials, and the retries for each kind of cause."""
