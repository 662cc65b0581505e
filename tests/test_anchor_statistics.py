"""Boxes at network scale, and the best anchor against a look at every anchor."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persondet import zoo
from persondet.anchor_statistics import (
    best_ious,
    boxes_xyxy_norm,
    coverage,
    distributions,
    sides_wh_px,
)
from persondet.anchors import anchors_cxcywh_norm
from persondet.boxes import iou_matrix, xyxy_from_cxcywh
from persondet.data.cleaning import with_small_ignored
from persondet.data.samples import DataSet, Sample
from persondet.errors import InputError
from persondet.spec import AnchorLevel, DetectorSpec


def _dataset(*rows: tuple[tuple[int, int], list[list[float]], list[bool]]) -> DataSet:
    """rows: size_hw of a picture, its boxes, which are ignored."""
    samples = [
        Sample(
            Path("p"),
            np.array(boxes, np.float32).reshape(-1, 4),
            np.ones(len(boxes), np.int64),
            np.array(ignore, bool),
            (1,),
            size_hw,
        )
        for size_hw, boxes, ignore in rows
    ]
    return DataSet("set", ("background", "head"), tuple(samples))


def test_statistics_at_network_scale_worked_by_hand() -> None:
    """100 x 200 and 200 x 100 pictures, an input of 240 x 320; the ignored box is not counted."""
    dataset = _dataset(
        ((100, 200), [[0, 0, 20, 10], [0, 0, 99, 99]], [False, True]),
        ((200, 100), [[10, 20, 30, 60], [50, 100, 60, 130]], [False, False]),
        ((50, 50), [], []),
    )
    boxes = boxes_xyxy_norm(dataset)
    np.testing.assert_allclose(boxes[1], [0.1, 0.1, 0.3, 0.3], rtol=1e-6)
    sides = sides_wh_px(boxes, (240, 320))
    np.testing.assert_allclose(sides, [[32, 24], [64, 48], [32, 36]], rtol=1e-6)
    found = distributions(sides)
    assert found["width"].mean == pytest.approx(128 / 3)
    assert found["height"].percentiles[2] == pytest.approx(36)
    assert found["height / width"].mean == pytest.approx((0.75 + 0.75 + 1.125) / 3)


def test_no_boxes() -> None:
    with pytest.raises(InputError, match="set has no boxes of head"):
        boxes_xyxy_norm(_dataset(((50, 50), [[1, 2, 3, 4]], [True])))


def test_small_boxes_do_not_count() -> None:
    dataset = _dataset(((300, 300), [[0, 0, 9, 50], [0, 0, 10, 50]], [False, False]))
    assert len(boxes_xyxy_norm(with_small_ignored(dataset, (300, 300), 10))) == 1


def _looked_at_all(boxes: np.ndarray, spec: DetectorSpec) -> np.ndarray:
    anchors = xyxy_from_cxcywh(anchors_cxcywh_norm(spec).astype(np.float64))
    return iou_matrix(boxes, anchors).max(axis=1)


def _random_boxes(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.random((count, 2, 2)), axis=1)
    small = corners[:, :1] + (corners[:, 1:] - corners[:, :1]) * rng.random((count, 1, 1)) ** 3
    return np.concatenate([corners[:, 0], np.maximum(small[:, 0], corners[:, 0] + 1e-3)], axis=1)


@pytest.mark.parametrize("network", zoo.network_names())
def test_the_best_anchor_is_the_best_of_all(network: str) -> None:
    """240 x 320 inputs, anchors larger than the picture, centres outside and clipped: all in."""
    spec = zoo.detector_spec(network)
    boxes = _random_boxes(300)
    np.testing.assert_allclose(best_ious(boxes, spec), _looked_at_all(boxes, spec), atol=1e-5)


_SIDE = st.floats(1, 200)
_LEVEL = st.builds(
    AnchorLevel,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.floats(4, 90), st.floats(4, 90)),
    st.lists(st.tuples(_SIDE, _SIDE), min_size=1, max_size=3).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(
    levels=st.lists(_LEVEL, min_size=1, max_size=3).map(tuple),
    input_hw=st.tuples(st.integers(16, 200), st.integers(16, 200)),
    clip=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_best_anchor_of_any_spec(levels, input_hw, clip: bool, seed: int) -> None:
    spec = DetectorSpec("any", 1.0, ("background", "x"), input_hw, levels, clip_anchors=clip)
    boxes = _random_boxes(20, seed)
    found = best_ious(boxes, spec)
    np.testing.assert_allclose(found, _looked_at_all(boxes, spec), atol=1e-4)
    assert ((found >= 0) & (found <= 1 + 1e-9)).all()


def test_an_anchor_is_covered_by_itself() -> None:
    spec = zoo.detector_spec(zoo.RFB_C32)
    anchors = xyxy_from_cxcywh(anchors_cxcywh_norm(spec).astype(np.float64))
    assert best_ious(anchors, spec).min() > 1 - 1e-5


def test_coverage_by_the_shorter_side() -> None:
    """One anchor of 32 x 16 in the middle of 128 x 128; sizes and IoUs hit their limits exactly."""
    level = AnchorLevel((1, 1), (128, 128), ((32.0, 16.0),))
    spec = DetectorSpec("any", 1.0, ("background", "x"), (128, 128), (level,))
    sides = np.array([(32, 16), (16, 16), (32, 10), (12, 16), (32, 9.5), (1, 90), (64, 80)])
    boxes = np.concatenate([64 - sides / 2, 64 + sides / 2], axis=1) / 128
    rows = {row.size: row for row in coverage(boxes, spec)}
    counts = {size: row.boxes for size, row in rows.items()}
    assert counts == {"<10": 2, "10-16": 2, "16-32": 2, "32-64": 0, ">64": 1, "all": 7}
    assert rows["16-32"].recall == (1.0, 1.0)  # IoU 1 and 0.5
    assert rows["16-32"].mean_iou == 0.75
    assert rows["10-16"].recall == (1.0, 0.5)  # IoU 0.375 and 0.625
    assert rows[">64"].recall == (0.0, 0.0)
    assert rows["32-64"].recall is None and rows["32-64"].mean_iou is None
