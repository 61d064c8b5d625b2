"""What command line and report share: tables as text, the selection card."""
