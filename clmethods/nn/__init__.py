"""Network modules: frozen backbone, composed LoRA, head, penalties and importance scores."""
