"""Training: needs torch and torchvision alone."""
