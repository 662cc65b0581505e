"""Training: targets, losses, augmentation, the loop."""
