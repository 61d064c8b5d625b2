"""Sweep file: from YAML to a `Sweep`, with all issues reported together."""
