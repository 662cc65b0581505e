"""The detection networks as torch modules."""
