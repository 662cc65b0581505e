"""Boxes and labels drawn into a picture."""

from collections.abc import Sequence

import cv2
import numpy as np

from persondet.terminal import printable
from runtime.detections import Detections

# Far apart from one another and from skin, grass and asphalt; class 1 takes the first.
_COLOURS_RGB = (
    *((0, 200, 83), (255, 61, 0), (41, 121, 255), (255, 214, 0), (213, 0, 249)),
    *((0, 229, 255), (255, 128, 171), (174, 234, 0), (141, 110, 99), (255, 255, 255)),
)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SMALLEST_FONT_SCALE = 0.35  # capitals of about 8 pixels


def draw_detections(
    image_rgb: np.ndarray, detections: Detections, class_names: Sequence[str]
) -> np.ndarray:
    """A copy of the picture, (H, W, 3) uint8 RGB, with each box and a label `name score`.

    Line and letters grow with the picture. A label stands above its box, or inside it where the
    picture ends, and stays in the picture. So that a crowd stays visible, it is the score alone at
    a narrow box, and left off at a tiny one or where it would cover the label of a better one.
    """
    drawn = np.ascontiguousarray(image_rgb).copy()
    side = float(np.sqrt(drawn.shape[0] * drawn.shape[1]))
    font_scale = max(_SMALLEST_FONT_SCALE, side / 1200)
    corners = [_pixel_corners(box, drawn.shape[:2]) for box in detections.boxes_xyxy_px]
    colours = [_COLOURS_RGB[(int(id_) - 1) % len(_COLOURS_RGB)] for id_ in detections.class_ids]
    for (x1, y1, x2, y2), colour in reversed(list(zip(corners, colours, strict=True))):
        cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, max(1, round(side / 300)))
    labelled = np.zeros(drawn.shape[:2], bool)
    for index, (x1, y1, x2, _) in enumerate(corners):
        name, score = class_names[detections.class_ids[index]], f"{detections.scores[index]:.2f}"
        for text in (f"{name} {score}", score):
            if _text_size(text, font_scale)[0] <= 1.5 * (x2 - x1):
                _draw_label(drawn, text, (x1, y1), colours[index], font_scale, labelled)
                break
    return drawn


def draw_caption(image_rgb: np.ndarray, text: str) -> None:
    """Write a line into the picture's upper left corner, in place."""
    font_scale = _caption_font_scale(image_rgb)
    _draw_label(image_rgb, text, (0, 0), (0, 0, 0), font_scale, np.zeros(image_rgb.shape[:2], bool))


def titled(image_rgb: np.ndarray, text: str) -> np.ndarray:
    """A new picture: the given one under a black strip with a line of text, covering nothing."""
    font_scale = _caption_font_scale(image_rgb)
    _, text_h, baseline = _text_size("Ag", font_scale)  # the same height for every text
    strip = np.zeros((text_h + baseline + 6, *image_rgb.shape[1:]), np.uint8)
    labelled = np.zeros(strip.shape[:2], bool)
    _draw_label(strip, text, (2, 2), (0, 0, 0), font_scale, labelled)
    return np.concatenate([strip, image_rgb], axis=0)


def _caption_font_scale(image_rgb: np.ndarray) -> float:
    return max(_SMALLEST_FONT_SCALE, float(np.sqrt(image_rgb[..., 0].size)) / 1000)


def _pixel_corners(box_xyxy_px: np.ndarray, size_hw: tuple[int, ...]) -> tuple[int, int, int, int]:
    height, width = size_hw
    x1, y1, x2, y2 = (round(float(side)) for side in box_xyxy_px)
    return min(x1, width - 1), min(y1, height - 1), min(x2, width - 1), min(y2, height - 1)


def _draw_label(
    drawn: np.ndarray,
    text: str,
    corner_xy: tuple[int, int],
    colour: tuple[int, int, int],
    font_scale: float,
    labelled: np.ndarray,
) -> None:
    """Text on a filled ground: above the corner where there is room, otherwise below it.

    labelled: (H, W) bool, the pixels that labels cover; one that would touch them is not drawn.
    """
    height, width = drawn.shape[:2]
    text_w, text_h, baseline = _text_size(text, font_scale)
    label_w, label_h = min(text_w + 4, width), text_h + baseline + 2
    left = max(0, min(corner_xy[0], width - label_w))
    top = corner_xy[1] - label_h if corner_xy[1] >= label_h else corner_xy[1]
    top = max(0, min(top, height - label_h))
    ground = (slice(top, top + label_h), slice(left, left + label_w))
    if labelled[ground].any():
        return
    labelled[ground] = True
    drawn[ground] = colour
    ink = (0, 0, 0) if np.dot(colour, (0.3, 0.59, 0.11)) > 110 else (255, 255, 255)
    origin = (left + 2, top + text_h + 1)
    cv2.putText(
        drawn, printable(text), origin, _FONT, font_scale, ink, _weight(font_scale), cv2.LINE_AA
    )


def _text_size(text: str, font_scale: float) -> tuple[int, int, int]:
    """Width, height above the baseline, depth below it, in pixels."""
    text = printable(text)  # OpenCV crashes on a name that is not UTF-8
    (width, height), baseline = cv2.getTextSize(text, _FONT, font_scale, _weight(font_scale))
    return width, height, baseline


def _weight(font_scale: float) -> int:
    return max(1, round(font_scale * 1.5))
