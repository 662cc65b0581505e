"""Random truths and detections for the tests of the evaluation: small, crowded, not square."""

from pathlib import Path

import numpy as np

from benchmarks.evaluation.found import FoundPicture
from benchmarks.evaluation.truth import Truth, TruthPicture
from runtime.detections import Detections

NAMES = ("background", "person", "head")
SIZE_HW = (90, 160)


def truth_picture(boxes, *, ignored=None, classes=None, annotated=(1, 2), size_hw=SIZE_HW):
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    count = len(boxes)
    sides = boxes[:, 2:] - boxes[:, :2]
    return TruthPicture(
        Path("none.png"),
        boxes,
        np.array([1] * count if classes is None else classes, np.int64),
        np.array([False] * count if ignored is None else ignored, bool),
        sides.prod(axis=1),
        annotated,
        size_hw,
    )


def found_picture(boxes, scores, *, classes=None, size_hw=SIZE_HW):
    """Best score first, as everywhere."""
    count = len(scores)
    return FoundPicture(
        size_hw,
        Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(scores, np.float32),
            np.array([1] * count if classes is None else classes, np.int64),
        ),
    )


def random_data(seed, pictures=12, *, annotated=((1, 2),)):
    """Truth and detections; some pictures are empty, some boxes ignored, some scores equal."""
    generator = np.random.default_rng(seed)
    truths, found = [], []
    for index in range(pictures):
        boxes = random_boxes(generator, generator.integers(0, 7))
        known = annotated[index % len(annotated)]
        truths.append(
            truth_picture(
                boxes,
                ignored=generator.random(len(boxes)) < 0.25,
                classes=generator.choice(known, len(boxes)),
                annotated=known,
            )
        )
        near = np.repeat(boxes, 3, axis=0) + generator.normal(0, 3, (3 * len(boxes), 4))
        loose = random_boxes(generator, generator.integers(0, 5))
        offered = np.clip(np.concatenate([near, loose]), 0, (160, 90, 160, 90))
        offered = offered[(offered[:, 2:] > offered[:, :2]).all(axis=1)]
        scores = -np.sort(-np.round(generator.random(len(offered)), 2))
        classes = generator.integers(1, 3, len(offered))
        found.append(found_picture(offered, scores, classes=classes))
    return Truth("random", NAMES, (1, 2), tuple(truths)), found


def random_boxes(generator, count):
    corner = generator.uniform(0, (120, 50), (count, 2))
    return np.concatenate([corner, corner + generator.uniform(4, 40, (count, 2))], axis=1)
