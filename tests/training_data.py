"""A few made pictures with bright rectangles to find, and a short recipe."""

from pathlib import Path

import numpy as np

from persondet.data.samples import DataSet, make_sample
from persondet.images import write_image_rgb
from persondet.training.config import TrainConfig

CONFIG = TrainConfig(epochs=2, batch_size=2, workers=0, learning_rate=0.02, seed=7)


def made_data(folder: Path) -> DataSet:
    """Six pictures, not square, each with one or two bright rectangles; the folder is made."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    samples = []
    for index in range(6):
        image = rng.integers(0, 90, (120, 200, 3)).astype(np.uint8)
        boxes = []
        for _ in range(1 + index % 2):
            x, y = int(rng.integers(0, 130)), int(rng.integers(0, 60))
            image[y : y + 50, x : x + 40] = 240
            boxes.append(((x, y, x + 40, y + 50), 1, False))
        path = folder / f"{index}.png"
        write_image_rgb(path, image)
        samples.append(make_sample(path, boxes, [1], (120, 200)))
    return DataSet("made", ("background", "head"), tuple(samples))
