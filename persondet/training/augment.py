"""Augmentations of the SSD family, on pictures and their boxes together.

Each takes and returns an `Example` and draws from the generator it is given, so that an example
depends on nothing but its seed. Boxes stay inside the picture; a box of which too little is left is
ignored rather than learnt as background.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from persondet.boxes import area, iou_matrix
from persondet.training.rules import AugmentRule

_CROP_MIN_IOUS = (None, 0.1, 0.3, 0.5, 0.7, 0.9)  # Liu et al. 2016, section 2.2
_CROP_TRIES = 50
_MIN_VISIBLE = 0.4  # share of a box's area that must be left for it to be learnt


@dataclass(frozen=True, eq=False)
class Example:
    """image_rgb: (H, W, 3) uint8; boxes_xyxy_px: (N, 4) float32; class_ids: (N,) int64; ignore:
    (N,) bool."""

    image_rgb: np.ndarray
    boxes_xyxy_px: np.ndarray
    class_ids: np.ndarray
    ignore: np.ndarray


def augmented(
    example: Example, rule: AugmentRule, size_hw: tuple[int, int], rng: np.random.Generator
) -> Example:
    """All augmentations, each with its probability; size_hw: of the network's input."""
    if rng.random() < rule.photometric:
        example = replace(example, image_rgb=photometric(example.image_rgb, rng))
    if rng.random() < rule.expand:
        example = expand(example, rule.max_expand, rng)
    if rng.random() < rule.zoom:
        example = zoom(example, rule.zoom_side_px, size_hw, rng)
    elif rng.random() < rule.crop:
        example = iou_crop(example, rng)
    if rng.random() < rule.mirror:
        example = mirror(example)
    return example


def photometric(image_rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness +-32, contrast and saturation 0.5 to 1.5, hue +-18 degrees: each half the time."""
    image = image_rgb
    if rng.random() < 0.5:
        image = _clipped(image.astype(np.int16) + int(rng.integers(-32, 33)))
    if rng.random() < 0.5:
        image = _clipped(image.astype(np.float32) * float(rng.uniform(0.5, 1.5)))
    if rng.random() < 0.5:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hue = (hsv[..., 0].astype(np.int16) + int(rng.integers(-9, 10))) % 180  # 2 degrees a step
        saturation = hsv[..., 1].astype(np.float32) * float(rng.uniform(0.5, 1.5))
        hsv = np.dstack([hue.astype(np.uint8), _clipped(saturation), hsv[..., 2]])
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return image


def expand(example: Example, max_ratio: float, rng: np.random.Generator) -> Example:
    """The picture somewhere in a larger grey one: objects become smaller."""
    height, width = example.image_rgb.shape[:2]
    ratio = float(rng.uniform(1.0, max_ratio))
    new_h, new_w = int(height * ratio), int(width * ratio)
    top, left = int(rng.integers(0, new_h - height + 1)), int(rng.integers(0, new_w - width + 1))
    image = np.full((new_h, new_w, 3), 127, np.uint8)  # the mean: 0 for the network
    image[top : top + height, left : left + width] = example.image_rgb
    shift = np.array([left, top, left, top], np.float32)
    return replace(example, image_rgb=image, boxes_xyxy_px=example.boxes_xyxy_px + shift)


def iou_crop(example: Example, rng: np.random.Generator) -> Example:
    """A crop of 0.3 to 1 of each side that has a drawn least IoU with some box."""
    height, width = example.image_rgb.shape[:2]
    min_iou = _CROP_MIN_IOUS[int(rng.integers(len(_CROP_MIN_IOUS)))]
    if min_iou is None or len(example.boxes_xyxy_px) == 0:
        return example
    for _ in range(_CROP_TRIES):
        crop_w, crop_h = int(width * rng.uniform(0.3, 1)), int(height * rng.uniform(0.3, 1))
        if crop_w < 1 or crop_h < 1 or not 0.5 <= crop_w / crop_h <= 2:
            continue
        left = int(rng.integers(0, width - crop_w + 1))
        top = int(rng.integers(0, height - crop_h + 1))
        window = np.array([[left, top, left + crop_w, top + crop_h]], np.float32)
        if iou_matrix(example.boxes_xyxy_px, window).max() >= min_iou:
            return cropped(example, left, top, crop_w, crop_h)
    return example


def zoom(
    example: Example,
    side_px: tuple[float, float],
    size_hw: tuple[int, int],
    rng: np.random.Generator,
) -> Example:
    """A crop of the picture's own shape in which a drawn box has a drawn size at network scale.

    Never larger than the picture: a box that is larger already leaves it as it is.
    """
    learnt = np.flatnonzero(~example.ignore)
    if len(learnt) == 0:
        return example
    height, width = example.image_rgb.shape[:2]
    box = example.boxes_xyxy_px[learnt[int(rng.integers(len(learnt)))]]
    side = min((box[2] - box[0]) * size_hw[1] / width, (box[3] - box[1]) * size_hw[0] / height)
    wanted = float(np.exp(rng.uniform(*np.log(side_px))))
    share = max(0.15, float(side) / wanted)
    if share >= 1:
        return example
    crop_w, crop_h = max(1, int(width * share)), max(1, int(height * share))
    centre_x, centre_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    left = int(np.clip(centre_x - crop_w * rng.uniform(0.2, 0.8), 0, width - crop_w))
    top = int(np.clip(centre_y - crop_h * rng.uniform(0.2, 0.8), 0, height - crop_h))
    return cropped(example, left, top, crop_w, crop_h)


def mirror(example: Example) -> Example:
    """Left and right exchanged."""
    width = example.image_rgb.shape[1]
    boxes = example.boxes_xyxy_px.copy()
    boxes[:, [0, 2]] = width - example.boxes_xyxy_px[:, [2, 0]]
    image = np.ascontiguousarray(example.image_rgb[:, ::-1])
    return replace(example, image_rgb=image, boxes_xyxy_px=boxes)


def mosaic(examples: Sequence[Example], size_hw: tuple[int, int]) -> Example:
    """Four examples as the quarters of one of size_hw, row by row, each stretched to its place."""
    height, width = size_hw
    image = np.empty((height, width, 3), np.uint8)
    boxes = []
    for index, example in enumerate(examples):
        top, left = (0, height // 2)[index // 2], (0, width // 2)[index % 2]
        tile_h = height // 2 if index < 2 else height - height // 2
        tile_w = width // 2 if index % 2 == 0 else width - width // 2
        tile = resized(example, (tile_h, tile_w), 0.0)
        image[top : top + tile_h, left : left + tile_w] = tile.image_rgb
        boxes.append(tile.boxes_xyxy_px + np.array([left, top, left, top], np.float32))
    return Example(
        image,
        np.concatenate(boxes),
        np.concatenate([example.class_ids for example in examples]),
        np.concatenate([example.ignore for example in examples]),
    )


def cropped(example: Example, left: int, top: int, width: int, height: int) -> Example:
    """A window of the picture. Boxes wholly outside go; those mostly outside are ignored."""
    shift = np.array([left, top, left, top], np.float32)
    limit = np.array([width, height, width, height], np.float32)
    boxes = np.clip(example.boxes_xyxy_px - shift, 0, limit)
    visible = area(boxes) / np.maximum(area(example.boxes_xyxy_px), 1e-9)
    kept = visible > 0
    return Example(
        np.ascontiguousarray(example.image_rgb[top : top + height, left : left + width]),
        boxes[kept],
        example.class_ids[kept],
        (example.ignore | (visible < _MIN_VISIBLE))[kept],
    )


def resized(example: Example, size_hw: tuple[int, int], min_side_px: float) -> Example:
    """Stretched to the network's input as inference does it; boxes smaller than min_side_px there
    (the shorter side) are ignored."""
    height, width = example.image_rgb.shape[:2]
    scale = np.array([size_hw[1] / width, size_hw[0] / height] * 2, np.float32)
    boxes = example.boxes_xyxy_px * scale
    small = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) < min_side_px
    image = cv2.resize(example.image_rgb, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return Example(image, boxes, example.class_ids, example.ignore | small)


def _clipped(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 255).astype(np.uint8)
