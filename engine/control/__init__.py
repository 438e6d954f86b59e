"""Control pictures: what a ControlNet is shown beside the prompt. No torch."""
