"""LoRA files: what is in them, how they are written and what is told about them."""
