"""The pictures on which models differ most, drawn side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.compare import Comparison, Pair
from persondet.images import read_image_rgb, write_image_rgb
from runtime.detector import Detector
from runtime.drawing import draw_detections, titled


def draw_worst(comparison: Comparison, detectors: Sequence[Detector], folder: Path) -> list[Path]:
    """Write a PNG for each pair into the folder: the reference's boxes left, the model's right.

    detectors: those that were compared, in order. Returns the files written. Raises InputError
    where the folder cannot be written.
    """
    written = []
    for index, (pair, detector) in enumerate(zip(comparison.pairs, detectors[1:], strict=True), 1):
        image_rgb = read_image_rgb(pair.worst_image.path)
        halves = [
            _drawn(image_rgb, detectors[0], comparison.reference),
            _drawn(image_rgb, detector, pair.model),
        ]
        path = folder / _file_name(index, pair)
        write_image_rgb(path, np.concatenate(halves, axis=1))
        written.append(path)
    return written


def _drawn(image_rgb: np.ndarray, detector: Detector, name: str) -> np.ndarray:
    drawn = draw_detections(image_rgb, detector(image_rgb), detector.spec.class_names)
    return titled(drawn, Path(name).name)


def _file_name(index: int, pair: Pair) -> str:
    return f"{index}-{Path(pair.model).name}-{pair.worst_image.path.stem}.png"
