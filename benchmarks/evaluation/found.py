"""What a model found on the pictures of a data set: run, in processes if wished, and kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from persondet.images import read_image_rgb
from persondet.spec import DetectorSpec
from runtime.backend import Backend, open_backend
from runtime.detections import Detections
from runtime.detector import Detector

# The curves need what lies far below any working threshold; what scores less than this comes after
# so many false alarms that it adds nothing to an average precision.
COLLECTING_THRESHOLD = 0.01


@dataclass(frozen=True, eq=False)
class FoundPicture:
    """size_hw: of the picture as it was read, in whose pixels the detections are."""

    size_hw: tuple[int, int]
    detections: Detections


@dataclass(frozen=True)
class ModelToOpen:
    """All that another process needs to detect alike. threads: None where the kind has none.

    The spec's NMS and top-k are used, for all of its classes.
    """

    path: Path
    spec: DetectorSpec
    threads: int | None
    score_threshold: float = COLLECTING_THRESHOLD

    def open(self) -> Detector:
        options = {} if self.threads is None else {"threads": self.threads}
        return self.detector(open_backend(self.path, self.spec, **options))

    def detector(self, backend: Backend) -> Detector:
        return Detector(backend, self.score_threshold)


def find_in(detector: Detector, path: Path) -> FoundPicture:
    image_rgb = read_image_rgb(path)
    return FoundPicture((image_rgb.shape[0], image_rgb.shape[1]), detector(image_rgb))


def find_in_all(
    detector: Detector, paths: Sequence[Path], on_found: Callable[[int, FoundPicture], object]
) -> None:
    """Detect on every picture, in this process; on_found gets its index and what was found."""
    for index, path in enumerate(paths):
        on_found(index, find_in(detector, path))
