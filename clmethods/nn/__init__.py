"""Building blocks: the frozen backbone, composed LoRA, head, penalty, importance."""
