"""Analyses of the result tables, as functions from tables to tables without torch or Ray."""
