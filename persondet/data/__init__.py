"""Data sets: readers for the published annotation formats, one kind of sample."""
