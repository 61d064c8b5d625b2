"""Readers for the user's own data at planning time: manifests, folders, cached weights."""
