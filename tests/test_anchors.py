"""Anchors of every network, checked against loops and against numbers worked out by hand."""

import dataclasses
import math

import numpy as np
import pytest

from persondet import zoo
from persondet.anchors import anchors_cxcywh_norm
from persondet.spec import AnchorLevel


def slow_anchors(spec) -> np.ndarray:
    input_h, input_w = spec.input_size_hw
    anchors = []
    for level in spec.levels:
        rows, columns = level.grid_hw
        stride_h, stride_w = level.stride_hw_px
        for row in range(rows):
            for column in range(columns):
                for width, height in level.shapes_wh_px:
                    cx, cy = (column + 0.5) * stride_w / input_w, (row + 0.5) * stride_h / input_h
                    anchor = [cx, cy, width / input_w, height / input_h]
                    if spec.clip_anchors:
                        anchor = [min(max(value, 0.0), 1.0) for value in anchor]
                    anchors.append(anchor)
    return np.array(anchors)


@pytest.mark.parametrize("name", zoo.network_names())
def test_anchors_equal_loops(name):
    spec = zoo.detector_spec(name)
    anchors = anchors_cxcywh_norm(spec)
    assert anchors.dtype == np.float32
    assert anchors.shape == (spec.num_anchors, 4)
    np.testing.assert_allclose(anchors, slow_anchors(spec), rtol=0, atol=1e-7)


def test_a_small_spec_by_hand():
    """Input 48 high, 80 wide; one level of 2 rows and 3 columns; two shapes."""
    level = AnchorLevel((2, 3), (24, 32), ((8, 12), (100, 6)))
    spec = dataclasses.replace(
        zoo.detector_spec("mb2-ssd-lite-f38"), input_size_hw=(48, 80), levels=(level,)
    )
    anchors = anchors_cxcywh_norm(spec)
    np.testing.assert_allclose(anchors[0], [0.2, 0.25, 0.1, 0.25])
    np.testing.assert_allclose(anchors[1], [0.2, 0.25, 1.0, 0.125])  # width 1.25 is clipped
    np.testing.assert_allclose(anchors[2, :2], [0.6, 0.25])  # columns before rows
    np.testing.assert_allclose(anchors[4, :2], [1.0, 0.25])
    np.testing.assert_allclose(anchors[6, :2], [0.2, 0.75])
    unclipped = anchors_cxcywh_norm(dataclasses.replace(spec, clip_anchors=False))
    assert unclipped[1, 2] == 1.25


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mb2-ssd-lite-f38", 2888 + 722 + 200 + 50),
        ("mb2-ssd-lite-f38-person", 6 * (38**2 + 19**2 + 10**2 + 5**2 + 3**2 + 2**2 + 1)),
        ("mb2-ssd-lite-f19", 6 * (19**2 + 10**2 + 5**2 + 3**2 + 2**2 + 1)),
        ("rfb-tiny-mb2-ssd-c64", 13260),
        ("rfb-tiny-mb2-ssd-c32", 13260),
        ("ssdlite-mb2-person", 1917),
    ],
)
def test_counts(name, count):
    assert zoo.detector_spec(name).num_anchors == count


def anchors_px(name, **options):
    spec = zoo.detector_spec(name, **options)
    height, width = spec.input_size_hw
    return anchors_cxcywh_norm(spec).astype(float) * (width, height, width, height)


def test_f38_by_hand():
    """Centres use the stride, not the grid: 38 * 8 is more than 300, so the last is clipped."""
    anchors = anchors_px("mb2-ssd-lite-f38")
    big = math.sqrt(16 * 32)
    np.testing.assert_allclose(anchors[0], [4, 4, 16, 16 * 1.7], rtol=1e-6)
    np.testing.assert_allclose(anchors[1], [4, 4, big, big * 1.7], rtol=1e-6)
    np.testing.assert_allclose(anchors[2 * 37, :2], [300, 4], rtol=1e-6)
    np.testing.assert_allclose(anchors[2888], [8, 8, 32, 32 * 1.7], rtol=1e-6)
    np.testing.assert_allclose(anchors[-2], [288, 288, 128, 128 * 1.7], rtol=1e-6)
    np.testing.assert_allclose(anchors[-1, 2:], [math.sqrt(128 * 256), 300], rtol=1e-6)
    as_trained = anchors_px("mb2-ssd-lite-f38", anchor_ratios=[1.0])
    np.testing.assert_allclose(as_trained[0], [4, 4, 16, 16], rtol=1e-6)


def test_f38_person_by_hand():
    """For each ratio: min, max."""
    cell = anchors_px("mb2-ssd-lite-f38-person")[:6]
    shapes = [(w, w * math.sqrt(r)) for r in (5.5, 6.7, 7.8) for w in (10, 16)]
    np.testing.assert_allclose(cell[:, 2:], shapes, rtol=1e-6)


def test_f19_by_hand():
    cell = anchors_px("mb2-ssd-lite-f19")[:6]
    g, q2, q3 = math.sqrt(60 * 105), math.sqrt(2), math.sqrt(3)
    shapes = [
        *((60, 60), (g, g)),
        *((60 * q2, 60 / q2), (60 / q2, 60 * q2)),
        *((60 * q3, 60 / q3), (60 / q3, 60 * q3)),
    ]
    np.testing.assert_allclose(cell[:, :2], [[8, 8]] * 6, rtol=1e-6)
    np.testing.assert_allclose(cell[:, 2:], shapes, rtol=1e-6)


def test_rfb_tiny_by_hand():
    """240 high, 320 wide; for each width: each ratio."""
    anchors = anchors_px("rfb-tiny-mb2-ssd-c32")
    shapes = [(w, w * r) for w in (10, 16, 24) for r in (2.21, 2.47, 2.73)]
    np.testing.assert_allclose(anchors[:9, 2:], shapes, rtol=1e-6)
    np.testing.assert_allclose(anchors[0, :2], [4, 4], rtol=1e-6)
    np.testing.assert_allclose(anchors[9, :2], [12, 4], rtol=1e-6)
    np.testing.assert_allclose(anchors[9 * 40, :2], [4, 12], rtol=1e-6)
    np.testing.assert_allclose(anchors[-1, :2], [320 - 32, 240 - 30], rtol=1e-6)
