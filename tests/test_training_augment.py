"""Augmentations keep boxes inside and aligned with what they frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persondet.training.augment import (
    Example,
    augmented,
    cropped,
    expand,
    mirror,
    mosaic,
    photometric,
    resized,
)
from persondet.training.rules import AugmentRule

SIZE_HW = (48, 80)


def framed(seed: int, size_hw=(90, 150)) -> Example:
    """A grey picture with one bright rectangle and its box: not square, not centred."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    x1, y1 = int(rng.integers(0, width - 40)), int(rng.integers(0, height - 40))
    x2, y2 = x1 + int(rng.integers(12, 40)), y1 + int(rng.integers(12, 40))
    image = np.full((height, width, 3), 60, np.uint8)
    image[y1:y2, x1:x2] = 250
    boxes = np.array([[x1, y1, x2, y2]], np.float32)
    return Example(image, boxes, np.array([1]), np.array([False]))


def bright_box(image: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero(image[..., 0] > 200)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000))
def test_boxes_stay_inside_and_labels_aligned(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 6))
    low = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(2, 30, (count, 2))], 1).astype(np.float32)
    example = Example(
        rng.integers(0, 256, (90, 150, 3)).astype(np.uint8),
        boxes.reshape(-1, 4),
        np.arange(count) + 1,
        rng.random(count) < 0.3,
    )
    rule = AugmentRule(photometric=1, expand=0.7, crop=1, zoom=0.5, mirror=0.5)
    result = resized(augmented(example, rule, SIZE_HW, rng), SIZE_HW, 0.0)
    assert result.image_rgb.shape == (*SIZE_HW, 3) and result.image_rgb.dtype == np.uint8
    assert len(result.boxes_xyxy_px) == len(result.class_ids) == len(result.ignore) <= count
    assert result.boxes_xyxy_px.dtype == np.float32
    found = result.boxes_xyxy_px
    assert (found >= -1e-3).all() and (found[:, 2:] <= (80.001, 48.001)).all()
    assert (found[:, 2:] > found[:, :2]).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000))
def test_a_box_still_frames_its_rectangle(seed: int) -> None:
    rule = AugmentRule(photometric=0, expand=0.5, crop=0.5, zoom=0.5, mirror=0.5)
    result = augmented(framed(seed), rule, SIZE_HW, np.random.default_rng(seed))
    if len(result.boxes_xyxy_px) and result.boxes_xyxy_px.min() >= 0:
        box = result.boxes_xyxy_px[0]
        if ((box[2:] - box[:2]) >= 2).all():
            np.testing.assert_allclose(bright_box(result.image_rgb), box, atol=1.0)


@pytest.mark.parametrize("size_hw", [(48, 80), (49, 81)])
def test_the_boxes_of_a_mosaic_frame_their_rectangles(size_hw: tuple[int, int]) -> None:
    """An odd side too: the last row and column are a pixel larger."""
    parts = [framed(seed, (90 + 10 * seed, 150 - 20 * seed)) for seed in range(4)]
    whole = mosaic(parts, size_hw)
    assert whole.image_rgb.shape == (*size_hw, 3)
    assert whole.class_ids.tolist() == [1, 1, 1, 1]
    middle_y, middle_x = size_hw[0] // 2, size_hw[1] // 2
    quarters = [
        (slice(0, middle_y), slice(0, middle_x)),
        (slice(0, middle_y), slice(middle_x, None)),
        (slice(middle_y, None), slice(0, middle_x)),
        (slice(middle_y, None), slice(middle_x, None)),
    ]
    for box, (rows, columns) in zip(whole.boxes_xyxy_px, quarters, strict=True):
        alone = np.zeros_like(whole.image_rgb)
        alone[rows, columns] = whole.image_rgb[rows, columns]
        assert np.abs(bright_box(alone) - box).max() <= 1.5


def test_mirroring_twice_changes_nothing() -> None:
    example = framed(5)
    again = mirror(mirror(example))
    np.testing.assert_array_equal(again.image_rgb, example.image_rgb)
    np.testing.assert_array_equal(again.boxes_xyxy_px, example.boxes_xyxy_px)


def test_expanding_keeps_sizes_in_pixels() -> None:
    example = framed(6)
    result = expand(example, 3.0, np.random.default_rng(1))
    before, after = example.boxes_xyxy_px[0], result.boxes_xyxy_px[0]
    np.testing.assert_array_equal(after[2:] - after[:2], before[2:] - before[:2])
    np.testing.assert_array_equal(bright_box(result.image_rgb), after)


def test_a_box_mostly_cut_off_is_ignored_and_one_wholly_outside_goes() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    boxes = np.array([[0, 0, 50, 50], [45, 0, 95, 50], [150, 0, 199, 50]], np.float32)
    example = Example(image, boxes, np.array([1, 2, 3]), np.zeros(3, bool))
    result = cropped(example, 40, 0, 100, 100)
    assert result.class_ids.tolist() == [1, 2]
    assert result.ignore.tolist() == [True, False]
    np.testing.assert_array_equal(result.boxes_xyxy_px, [[0, 0, 10, 50], [5, 0, 55, 50]])


@pytest.mark.parametrize(("side", "ignored"), [(9.9, True), (10.0, False)])
def test_small_boxes_are_ignored_at_network_scale(side: float, ignored: bool) -> None:
    box = np.array([[10, 10, 10 + 4 * side, 10 + 2 * side]], np.float32)
    example = Example(np.zeros((200, 400, 3), np.uint8), box, np.array([1]), np.array([False]))
    assert resized(example, (100, 100), 10.0).ignore.tolist() == [ignored]


def test_photometric_leaves_shape_and_type() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3)).astype(np.uint8)
    for seed in range(20):
        result = photometric(image, np.random.default_rng(seed))
        assert result.shape == image.shape and result.dtype == np.uint8


def test_the_same_seed_gives_the_same_example() -> None:
    first, second = (
        augmented(framed(3), AugmentRule(), SIZE_HW, np.random.default_rng((1, 2, 3)))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.image_rgb, second.image_rgb)
    np.testing.assert_array_equal(first.boxes_xyxy_px, second.boxes_xyxy_px)
