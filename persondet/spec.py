"""`DetectorSpec`: every constant of a model, typed once.

It travels in the ONNX metadata and in the sidecar of each artefact, so that no later step needs a
flag to know how to feed the model or how to read its outputs.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from persondet.errors import InputError
from persondet.files import parse_json
from persondet.wording import shown

BACKBONE_ACTIVATIONS = ("relu", "relu6")
INPUT_FORMATS = ("float-nchw", "float-nhwc", "uint8-nhwc")
SCORE_FUNCTIONS = ("softmax", "sigmoid")
SPEC_VERSION = 1
# Far more than any detector has; beyond, a few digits of damage would take gigabytes.
_MAX_PIXELS = 1 << 26
_MAX_ANCHORS = 1 << 24
METADATA_KEY = "persondet_spec"  # where an ONNX file keeps its spec


@dataclass(frozen=True)
class AnchorLevel:
    """The anchors of one feature map.

    grid_hw: rows and columns of the map.
    stride_hw_px: distance of neighbouring centres, in network-input pixels (vertical, horizontal).
    shapes_wh_px: width and height of each anchor of a cell, in network-input pixels, in the order
        of the head's channels.
    """

    grid_hw: tuple[int, int]
    stride_hw_px: tuple[float, float]
    shapes_wh_px: tuple[tuple[float, float], ...]

    @property
    def num_anchors(self) -> int:
        return self.grid_hw[0] * self.grid_hw[1] * len(self.shapes_wh_px)


@dataclass(frozen=True)
class DetectorSpec:
    """What a detector is, from the picture's pixels to the boxes.

    network, width_mult: the zoo's name of the network and its width multiplier.
    class_names: index = class id; class 0 is the background.
    input_size_hw: network input; pictures are stretched to it (plain bilinear resize).
    input_format: what the graph takes: float32 (1,3,H,W), float32 (1,H,W,3) or uint8 (1,H,W,3).
        Channels are RGB. With uint8 the normalisation is inside the graph.
    mean_rgb, std_rgb: normalised = (pixel - mean) / std, pixel in 0..255.
    levels: anchors, in the order of the outputs.
    clip_anchors: clip (cx, cy, w, h) to [0, 1].
    variances: (centre, size) of the SSD box code: cx = loc_x * centre * anchor_w + anchor_cx,
        w = exp(loc_w * size) * anchor_w.
    score_function: what turns the logits of an anchor into probabilities.
    score_threshold, nms_iou, top_k: the defaults of `Detector`.
    input_name, scores_name, boxes_name: tensor names in ONNX and DLC.
        scores: (1, A, classes) logits; boxes: (1, A, 4) offsets in the order x, y, w, h.
    backbone_activation: relu or relu6 in the backbone instead of the network's own; None: its own.
        The keys of a checkpoint are the same with either.
    """

    network: str
    width_mult: float
    class_names: tuple[str, ...]
    input_size_hw: tuple[int, int]
    levels: tuple[AnchorLevel, ...]
    mean_rgb: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std_rgb: tuple[float, float, float] = (128.0, 128.0, 128.0)
    input_format: str = "float-nchw"
    clip_anchors: bool = True
    variances: tuple[float, float] = (0.1, 0.2)
    score_function: str = "softmax"
    score_threshold: float = 0.5
    nms_iou: float = 0.45
    top_k: int = 200
    input_name: str = "image"
    scores_name: str = "scores"
    boxes_name: str = "boxes"
    backbone_activation: str | None = None

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise InputError("invalid detector spec: " + "; ".join(problems))

    @property
    def num_classes(self) -> int:
        """Classes including the background."""
        return len(self.class_names)

    @property
    def num_anchors(self) -> int:
        return sum(level.num_anchors for level in self.levels)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of the graph's input tensor."""
        height, width = self.input_size_hw
        return (1, 3, height, width) if self.input_format == "float-nchw" else (1, height, width, 3)

    @property
    def output_shapes(self) -> dict[str, tuple[int, int, int]]:
        """Shapes of the graph's outputs by name: scores (1, A, classes) and boxes (1, A, 4)."""
        return {
            self.scores_name: (1, self.num_anchors, self.num_classes),
            self.boxes_name: (1, self.num_anchors, 4),
        }

    @property
    def input_dtype(self) -> str:
        """numpy name of the graph input's element type."""
        return "uint8" if self.input_format == "uint8-nhwc" else "float32"


def _problems(spec: DetectorSpec) -> Iterator[str]:
    if spec.input_format not in INPUT_FORMATS:
        yield f"input_format {spec.input_format!r}, expected one of {', '.join(INPUT_FORMATS)}"
    if spec.score_function not in SCORE_FUNCTIONS:
        yield f"score_function {spec.score_function!r}, expected softmax or sigmoid"
    if spec.backbone_activation not in (None, *BACKBONE_ACTIVATIONS):
        yield f"backbone_activation {spec.backbone_activation!r}, expected relu or relu6"
    if len(spec.class_names) < 2 or not all(isinstance(name, str) for name in spec.class_names):
        yield f"class_names {spec.class_names}, expected the background and at least one more name"
    if not _are_integers(spec.input_size_hw, 2) or min(spec.input_size_hw) < 1:
        yield f"input_size_hw {spec.input_size_hw}, expected two positive integers"
    elif math.prod(spec.input_size_hw) > _MAX_PIXELS:
        yield f"input_size_hw {spec.input_size_hw}, expected at most {_MAX_PIXELS:,} pixels"
    if not _are_numbers(spec.mean_rgb, 3):
        yield f"mean_rgb {spec.mean_rgb}, expected three numbers"
    if not _are_numbers(spec.std_rgb, 3) or min(spec.std_rgb) <= 0:
        yield f"std_rgb {spec.std_rgb}, expected three positive numbers"
    if not _are_numbers(spec.variances, 2) or min(spec.variances) <= 0:
        yield f"variances {spec.variances}, expected two positive numbers"
    if not _are_numbers((spec.width_mult,), 1) or spec.width_mult <= 0:
        yield f"width_mult {spec.width_mult!r}, expected a positive number"
    for name in ("score_threshold", "nms_iou"):
        value = getattr(spec, name)
        if not _are_numbers((value,), 1) or not 0 <= value <= 1:
            yield f"{name} {shown(value)}, expected a number from 0 to 1"
    if not _are_integers((spec.top_k,), 1) or spec.top_k < 1:
        yield f"top_k {spec.top_k!r}, expected a positive integer"
    names = (spec.input_name, spec.scores_name, spec.boxes_name)
    if len({name for name in names if name and isinstance(name, str)}) != 3:
        yield f"input_name, scores_name, boxes_name {names}, expected three different names"
    if not spec.levels:
        yield "no anchor levels"
    for index, level in enumerate(spec.levels):
        problems = list(_level_problems(f"levels[{index}]", level))
        yield from problems
        if not problems and level.num_anchors > _MAX_ANCHORS:
            found = f"{level.num_anchors:,} anchors"
            yield f"levels[{index}]: {found}, expected at most {_MAX_ANCHORS:,}"


def _level_problems(where: str, level: AnchorLevel) -> Iterator[str]:
    if not _are_integers(level.grid_hw, 2) or min(level.grid_hw) < 1:
        yield f"{where}: grid_hw {level.grid_hw}, expected two positive integers"
    if not _are_numbers(level.stride_hw_px, 2) or min(level.stride_hw_px) <= 0:
        yield f"{where}: stride_hw_px {level.stride_hw_px}, expected two positive numbers"
    if not level.shapes_wh_px:
        yield f"{where}: no shapes in a cell"
    for shape in level.shapes_wh_px:
        if not _are_numbers(shape, 2) or min(shape) <= 0:
            yield f"{where}: shape {shape}, expected a positive width and height"


def _are_numbers(values: Sequence[Any], count: int) -> bool:
    """That there are `count` values, each a finite number."""
    return len(values) == count and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )


def _are_integers(values: Sequence[Any], count: int) -> bool:
    return _are_numbers(values, count) and all(isinstance(value, int) for value in values)


def spec_to_dict(spec: DetectorSpec) -> dict[str, Any]:
    """The spec as JSON-ready values (tuples become lists on writing).

    backbone_activation is left out when it is the network's own: releases before that field then
    read the spec.
    """
    values = {"spec_version": SPEC_VERSION, **dataclasses.asdict(spec)}
    if spec.backbone_activation is None:
        del values["backbone_activation"]
    return values


def spec_to_json(spec: DetectorSpec) -> str:
    return json.dumps(spec_to_dict(spec))


def spec_from_dict(values: Any) -> DetectorSpec:
    """Inverse of `spec_to_dict`. Raises InputError naming the missing, unknown or bad field."""
    if not isinstance(values, dict):
        raise InputError(f"invalid detector spec: expected an object, got {type(values).__name__}")
    values = dict(values)
    version = values.pop("spec_version", None)
    if version != SPEC_VERSION:
        raise InputError(
            f"invalid detector spec: spec_version is {version!r}, this release reads {SPEC_VERSION}"
        )
    known = {field.name for field in dataclasses.fields(DetectorSpec)}
    if unknown := sorted(set(values) - known):
        raise InputError(f"invalid detector spec: unknown fields {', '.join(unknown)}")
    try:
        values["levels"] = tuple(_level_from_dict(level) for level in values["levels"])
        for name in ("class_names", "input_size_hw", "mean_rgb", "std_rgb", "variances"):
            if name in values:
                values[name] = tuple(values[name])
        return DetectorSpec(**values)
    except KeyError as error:
        raise InputError(f"invalid detector spec: {error} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"invalid detector spec: {error}") from None


def spec_from_json(text: str) -> DetectorSpec:
    try:
        return spec_from_dict(parse_json(text))
    except ValueError as error:
        raise InputError(f"invalid detector spec: not JSON ({error})") from None


def _level_from_dict(level: dict[str, Any]) -> AnchorLevel:
    rows, columns = level["grid_hw"]
    stride_h, stride_w = level["stride_hw_px"]
    shapes = tuple((float(width), float(height)) for width, height in level["shapes_wh_px"])
    return AnchorLevel((rows, columns), (stride_h, stride_w), shapes)
