"""The sweep file: YAML to a `Sweep`, with all faults reported at once."""
