"""Detections kept between runs, by the content of model and picture."""

import hashlib
import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from benchmarks.evaluation.found import FoundPicture, ModelToOpen
from persondet.arrays import read_arrays
from persondet.errors import InputError
from persondet.models import cache_folder
from persondet.sidecar import replacing, sha256_of
from persondet.spec import spec_to_dict
from runtime.backend import Backend
from runtime.detections import Detections

_PACKAGES = {"onnx": "onnxruntime", "pth": "torch"}
_VERSION = 1  # to be raised where preprocessing, decode or NMS change their results


@dataclass(frozen=True)
class DetectionsCache:
    """One small file a picture, named by its sha256, in a folder of the model's own.

    A file appears whole or not at all, so that any number of processes may write and an interrupted
    run goes on where it ended.
    """

    folder: Path

    def get(self, picture: Path) -> FoundPicture | None:
        """None where there is nothing, or nothing whole: it is then to be found again."""
        try:
            stored = read_arrays(self._place(picture))
            height, width = stored["size_hw"].tolist()
            detections = Detections(stored["boxes"], stored["scores"], stored["class_ids"])
            return FoundPicture((height, width), detections)
        except (InputError, ValueError, TypeError, KeyError):
            return None

    def put(self, picture: Path, found: FoundPicture) -> None:
        """Keep what was found. Raises InputError if the folder cannot be written or is full."""
        detections = found.detections
        try:
            with replacing(self._place(picture)) as temporary:
                np.savez(
                    temporary,
                    size_hw=np.array(found.size_hw),
                    boxes=detections.boxes_xyxy_px,
                    scores=detections.scores,
                    class_ids=detections.class_ids,
                )
        except InputError as error:
            raise InputError(f"the cache of detections: {error}; or leave it: --no-cache") from None

    def _place(self, picture: Path) -> Path:
        return self.folder / f"{sha256_of(picture)}.npz"


def detections_cache(model: ModelToOpen, engine: str) -> DetectionsCache:
    """The cache of a model file, run by `engine` (kind and version of what executes it).

    The name of its folder is the sha256 of everything that the detections depend on, but the
    picture.
    """
    key = {
        "version": _VERSION,
        "model": sha256_of(model.path),
        "engine": engine,
        "spec": spec_to_dict(model.spec),
        "score_threshold": model.score_threshold,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return DetectionsCache(cache_folder() / "detections" / name[:32])


def engine(kind: str, backend: Backend, *, on_device: bool = False) -> str:
    """What executes a model of this kind, whose results another version might round otherwise."""
    if on_device or kind not in _PACKAGES:
        return f"{kind}, {backend.device}"
    package = _PACKAGES[kind]
    return f"{kind}, {package} {metadata.version(package)}"
