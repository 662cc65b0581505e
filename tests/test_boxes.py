"""Box geometry: round trips, and IoU against a slow one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from persondet.boxes import area, cxcywh_from_xyxy, iou_matrix, xyxy_from_cxcywh

coordinates = st.floats(-1000, 1000, width=32)
# eighths of a pixel in a small field: boxes often touch, coincide, contain each other or are empty
eighths = st.integers(0, 64).map(lambda value: value / 8)


def boxes(elements, dtype=np.float32, max_rows=6):
    shape = st.integers(0, max_rows).map(lambda count: (count, 4))
    return arrays(dtype, shape, elements=elements)


def slow_iou(a, b) -> float:
    """On Python floats, one pair; a box with its corners the wrong way round is empty."""

    def size(box):
        return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)

    common = [max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])]
    union = size(a) + size(b) - size(common)
    return size(common) / union if union > 0 else 0.0


@given(boxes(coordinates, np.float64))
def test_corners_and_centres_round_trip(boxes_xyxy):
    back = xyxy_from_cxcywh(cxcywh_from_xyxy(boxes_xyxy))
    np.testing.assert_allclose(back, boxes_xyxy, rtol=0, atol=1e-9)
    back = cxcywh_from_xyxy(xyxy_from_cxcywh(boxes_xyxy))
    np.testing.assert_allclose(back, boxes_xyxy, rtol=0, atol=1e-9)


def test_one_box_by_hand():
    box_xyxy = np.array([[10, 20, 40, 100]], np.float32)
    assert cxcywh_from_xyxy(box_xyxy).tolist() == [[25, 60, 30, 80]]
    assert xyxy_from_cxcywh(np.array([25, 60, 30, 80], np.float32)).tolist() == [10, 20, 40, 100]
    assert area(box_xyxy).tolist() == [2400]
    assert cxcywh_from_xyxy(box_xyxy).dtype == np.float32


def test_any_leading_shape():
    stack = np.zeros((2, 3, 4), np.float32)
    assert xyxy_from_cxcywh(stack).shape == (2, 3, 4)
    assert area(stack).shape == (2, 3)
    assert area(np.zeros((0, 4))).shape == (0,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_iou_by_hand(dtype):
    a = np.array([[0, 0, 4, 2], [0, 0, 0, 0]], dtype)
    b = np.array([[2, 1, 6, 3], [4, 0, 8, 2], [0, 0, 4, 2], [4, 2, 0, 0]], dtype)
    expected = [[2 / 14, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(iou_matrix(a, b), expected, rtol=1e-6)


@given(boxes(eighths), boxes(eighths))
def test_iou_equals_the_slow_one(a, b):
    expected = [[slow_iou(x, y) for y in b.astype(float)] for x in a.astype(float)]
    found = iou_matrix(a, b)
    assert found.shape == (len(a), len(b))
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), rtol=1e-6, atol=0)


@given(boxes(coordinates), boxes(coordinates))
def test_iou_is_symmetric_and_in_range(a, b):
    found = iou_matrix(a, b)
    np.testing.assert_array_equal(found, iou_matrix(b, a).T)
    assert ((found >= 0) & (found <= 1)).all()


@given(boxes(coordinates))
def test_a_box_with_itself(a):
    expected = np.where(area(a) > 0, 1.0, 0.0)
    np.testing.assert_array_equal(np.diag(iou_matrix(a, a)), expected)


@given(boxes(eighths), st.integers(-64, 64).map(lambda value: value / 8))
def test_iou_does_not_depend_on_the_place(a, shift):
    """Asymmetric shift, so that x and y are not mixed up."""
    moved = a + np.float32([shift, 2 * shift, shift, 2 * shift])
    np.testing.assert_array_equal(iou_matrix(moved, moved), iou_matrix(a, a))


def test_rounding_cannot_push_iou_above_one():
    """A box within another that is larger by the last bit: float32 sums round."""
    generator = np.random.default_rng(0)
    inner = np.zeros((20_000, 4), np.float32)
    inner[:, 2:] = generator.uniform(1, 2, (20_000, 2))
    outer = np.nextafter(inner, np.float32(3))
    outer[:, :2] = 0
    for start in range(0, len(inner), 500):
        part = slice(start, start + 500)
        assert iou_matrix(inner[part], outer[part]).max() <= 1
