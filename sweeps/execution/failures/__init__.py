"""Causes of failed trials, and the retries that each kind of cause has."""
