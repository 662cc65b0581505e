"""Settings of the whole suite."""

import os

# Two pytest workers with two torch threads each fight over two cores: four times as slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
