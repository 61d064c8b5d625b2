"""Presentation of results for command line and report: text tables and the selection card."""
