"""The worst faults of a model, side by side on one picture."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.evaluation.faults import Fault, Faults, above
from benchmarks.evaluation.found import FoundPicture
from benchmarks.evaluation.truth import Truth
from persondet.images import read_image_rgb, write_image_rgb
from runtime.detections import Detections
from runtime.drawing import draw_detections, titled

COLUMNS, ROWS = 5, 4
_TILE_PX = 240
_GAP_PX = 6
_CONTEXT = 3.0  # a tile shows so many times the fault's longer side
_LEAST_PX = 60  # and at least so many pixels of the picture
_ANNOTATED_RGB, _IGNORED_RGB, _FAULT_RGB = (255, 255, 255), (128, 128, 128), (255, 0, 0)


def draw_faults(
    worst: Faults,
    truth: Truth,
    found: Sequence[FoundPicture],
    score_threshold: float,
    folder: Path,
) -> list[Path]:
    """Write misses.jpg and false_alarms.jpg, each where there are any; returns their paths."""
    names = truth.class_names

    def missed(fault: Fault) -> str:
        return f"{names[fault.class_id]}, {fault.weight:.0f} px"

    def false(fault: Fault) -> str:
        return f"{names[fault.class_id]} {fault.weight:.2f}"

    written = []
    for name, some, caption, word, order in (
        ("misses", worst.misses, missed, "misses", "the largest first"),
        ("false_alarms", worst.false_alarms, false, "false alarms", "the best score first"),
    ):
        if some:
            sheet = _sheet(some[: COLUMNS * ROWS], truth, found, score_threshold, caption)
            sheet = titled(sheet, "white: annotated, grey: ignored, with a score: detected")
            heading = f"red: {len(some)} {word} at score >= {score_threshold:g}, {order}"
            path = folder / f"{name}.jpg"
            write_image_rgb(path, titled(sheet, heading))
            written.append(path)
    return written


def _sheet(
    some: Sequence[Fault],
    truth: Truth,
    found: Sequence[FoundPicture],
    score_threshold: float,
    caption: Callable[[Fault], str],
) -> np.ndarray:
    tiles = []
    for fault in some:
        tile = _tile(fault, truth, found[fault.picture], score_threshold)
        file_name = truth.pictures[fault.picture].path.name
        tiles.append(titled(tile, f"{caption(fault)}, {file_name}"))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    border = ((_GAP_PX, 0), (_GAP_PX, 0), (0, 0))
    tiles = [np.pad(tile, border, constant_values=64) for tile in tiles]
    rows = [np.concatenate(tiles[i : i + COLUMNS], axis=1) for i in range(0, len(tiles), COLUMNS)]
    return np.concatenate(rows, axis=0)


def _tile(fault: Fault, truth: Truth, result: FoundPicture, score_threshold: float) -> np.ndarray:
    """The fault's surroundings, enlarged or reduced to a square tile, with all boxes."""
    picture = truth.pictures[fault.picture]
    x1, y1, x2, y2 = _surroundings(fault.box_xyxy_px, result.size_hw)
    scale = _TILE_PX / max(x2 - x1, y2 - y1)
    size_wh = (max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale)))
    cut = read_image_rgb(picture.path)[y1:y2, x1:x2]
    cut = cv2.resize(cut, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)

    def placed(boxes_xyxy_px: np.ndarray) -> np.ndarray:
        return ((boxes_xyxy_px - np.array([x1, y1, x1, y1])) * scale).astype(np.float32)

    for box, ignored in zip(placed(picture.boxes_xyxy_px), picture.ignored, strict=True):
        _draw_box(cut, box, _IGNORED_RGB if ignored else _ANNOTATED_RGB, 1)
    detections = above(result.detections, score_threshold)
    moved = Detections(placed(detections.boxes_xyxy_px), detections.scores, detections.class_ids)
    cut = draw_detections(cut, _inside(moved, size_wh), truth.class_names)
    _draw_box(cut, placed(fault.box_xyxy_px), _FAULT_RGB, 2)
    tile = np.zeros((_TILE_PX, _TILE_PX, 3), np.uint8)
    tile[: cut.shape[0], : cut.shape[1]] = cut
    return tile


def _surroundings(box_xyxy_px: np.ndarray, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """A square around the box, as far as the picture reaches: whole pixels, never empty."""
    height, width = size_hw
    centre = (box_xyxy_px[:2] + box_xyxy_px[2:]) / 2
    half = max(_CONTEXT * (box_xyxy_px[2:] - box_xyxy_px[:2]).max(), _LEAST_PX) / 2
    x1, y1 = np.clip(np.floor(centre - half), 0, (width - 1, height - 1)).astype(int).tolist()
    x2, y2 = np.clip(np.ceil(centre + half), (x1 + 1, y1 + 1), (width, height)).astype(int).tolist()
    return x1, y1, x2, y2


def _inside(detections: Detections, size_wh: tuple[int, int]) -> Detections:
    """Those of which something is in the tile, cut off at its edges."""
    limits = np.array((*size_wh, *size_wh), np.float32)
    boxes = np.clip(detections.boxes_xyxy_px, 0, limits)
    shown = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Detections(boxes[shown], detections.scores[shown], detections.class_ids[shown])


def _draw_box(
    image_rgb: np.ndarray, box_xyxy_px: np.ndarray, colour: tuple[int, int, int], weight: int
) -> None:
    x1, y1, x2, y2 = (round(float(side)) for side in box_xyxy_px)
    cv2.rectangle(image_rgb, (x1, y1), (x2, y2), colour, weight)
