"""Smooth images of random colours, for tests that need no objects in them."""

from pathlib import Path

import cv2
import numpy as np


def write_blots(folder: Path, count: int) -> list[Path]:
    """Write 0.png, 1.png ... of 90 x 60 into the folder; always the same."""
    generator = np.random.default_rng(5)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        blots = generator.integers(0, 256, (4, 6, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(blots, (90, 60)))
    return paths
