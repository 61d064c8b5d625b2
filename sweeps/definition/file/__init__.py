"""The sweep file: YAML to a `Sweep`, with all issues reported at once."""
