"""k-means on IoU against a slow reference, and the anchors that come of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persondet import zoo
from persondet.anchor_proposal import (
    MAX_BOXES,
    best_ratios,
    from_clusters,
    from_levels,
    kmeans_iou,
    proposals,
    refined,
    shape_ious,
    with_ratios,
    with_shapes,
)
from persondet.anchor_statistics import best_ious
from persondet.anchors import anchors_cxcywh_norm
from persondet.boxes import iou_matrix
from persondet.errors import InputError
from persondet.spec import AnchorLevel, DetectorSpec

_SIDES = st.lists(st.tuples(st.floats(0.5, 300), st.floats(0.5, 300)), min_size=3, max_size=40).map(
    np.array
)


def _slow_iou(a: np.ndarray, b: np.ndarray) -> float:
    intersection = min(a[0], b[0]) * min(a[1], b[1])
    return intersection / (a[0] * a[1] + b[0] * b[1] - intersection)


def _slow_refined(sides: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, float]:
    centres = centres.copy()
    best_mean, best_centres = -1.0, centres
    while True:
        groups: list[list[int]] = [[] for _ in centres]
        total = 0.0
        for box, side in enumerate(sides):
            ious = [_slow_iou(side, centre) for centre in centres]
            groups[int(np.argmax(ious))].append(box)
            total += max(ious)
        if total / len(sides) <= best_mean + 1e-12:
            return best_centres, best_mean
        best_mean, best_centres = total / len(sides), centres.copy()
        for index, group in enumerate(groups):
            if group:
                centres[index] = sides[group].mean(axis=0)


@settings(max_examples=50, deadline=None)
@given(sides=_SIDES, seed=st.integers(0, 100))
def test_lloyds_steps_against_the_slow_reference(sides: np.ndarray, seed: int) -> None:
    start = sides[np.random.default_rng(seed).choice(len(sides), 3)]
    found = refined(sides, start)
    centres, mean_iou = _slow_refined(sides, start)
    assert found.mean_iou == pytest.approx(mean_iou, abs=1e-9)
    np.testing.assert_allclose(found.centres_wh, centres, rtol=1e-6)
    assert found.shares.sum() == pytest.approx(1)


@settings(max_examples=50, deadline=None)
@given(sides=_SIDES)
def test_shape_iou_is_that_of_boxes_with_one_centre(sides: np.ndarray) -> None:
    boxes = np.concatenate([-sides / 2, sides / 2], axis=1)
    found = shape_ious(sides, sides[:5])
    np.testing.assert_allclose(found, iou_matrix(boxes, boxes[:5]), rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(sides=_SIDES, scale=st.floats(0.1, 10))
def test_clusters_swap_with_the_axes_and_scale_with_the_boxes(
    sides: np.ndarray, scale: float
) -> None:
    found = kmeans_iou(sides, 2)
    assert kmeans_iou(sides[:, ::-1], 2).mean_iou == pytest.approx(found.mean_iou)
    assert kmeans_iou(sides * scale, 2).mean_iou == pytest.approx(found.mean_iou)
    assert (np.diff(found.centres_wh.prod(axis=1)) >= 0).all()


def test_clear_clusters_are_found() -> None:
    rng = np.random.default_rng(1)
    truth = np.array([(10, 17), (40, 20), (45, 90), (200, 180)], float)
    sides = np.concatenate([centre * rng.uniform(0.95, 1.05, (30, 2)) for centre in truth])
    found = kmeans_iou(sides, 4)
    np.testing.assert_allclose(found.centres_wh, truth, rtol=0.03)
    assert found.shares == pytest.approx([0.25] * 4)
    again = kmeans_iou(sides, 4)
    assert (again.centres_wh == found.centres_wh).all()


def test_boxes_that_are_all_alike() -> None:
    found = kmeans_iou(np.full((5, 2), 7.0), 3)
    assert (found.centres_wh == 7).all() and found.mean_iou == 1


def test_fewer_boxes_than_clusters() -> None:
    with pytest.raises(InputError, match="3 clusters need at least as many boxes, got 2"):
        kmeans_iou(np.ones((2, 2)), 3)


def test_large_sets_are_drawn_from() -> None:
    sides = np.random.default_rng(0).uniform(5, 50, (MAX_BOXES + 1000, 2))
    found = kmeans_iou(sides, 2, restarts=1)
    assert found.shares.sum() == pytest.approx(1)


def _heads(count: int = 400, seed: int = 3) -> np.ndarray:
    """Boxes of 10 to 80 px at 300 x 300, height about 1.4 x width, relative, in the picture."""
    rng = np.random.default_rng(seed)
    width = np.exp(rng.uniform(np.log(10), np.log(80), count)) / 300
    sides = np.stack([width, width * rng.normal(1.4, 0.05, count)], axis=1)
    low = rng.random((count, 2)) * (1 - sides)
    return np.concatenate([low, low + sides], axis=1)


@pytest.mark.parametrize("network", zoo.network_names())
def test_every_form_keeps_the_heads_of_the_network(network: str) -> None:
    spec = zoo.detector_spec(network)
    boxes = _heads()
    sides = (boxes[:, 2:] - boxes[:, :2]) * spec.input_size_hw[::-1]
    count = sum(len(level.shapes_wh_px) for level in spec.levels)
    made = proposals(boxes, spec, kmeans_iou(sides, count, restarts=2))
    forms = {proposal.form for proposal in made}
    assert forms >= {"own", "levels", "clusters"}
    assert ("ratio" in forms) == bool(zoo.default_anchor_ratios(network))
    for proposal in made:
        assert proposal.spec.output_shapes == spec.output_shapes
        assert anchors_cxcywh_norm(proposal.spec).shape == (spec.num_anchors, 4)
        assert proposal.mean_iou == pytest.approx(best_ious(boxes, proposal.spec).mean())
    scores = [proposal.mean_iou for proposal in made]
    assert scores == sorted(scores, reverse=True)


def test_the_ratio_of_the_data_is_found() -> None:
    spec = zoo.detector_spec(zoo.F38)
    (ratio,) = best_ratios(_heads(), spec)
    assert ratio == pytest.approx(1.4, abs=0.12)
    levels = with_ratios(spec, [ratio]).levels
    for level, own in zip(levels, spec.levels, strict=True):
        for (width, height), (own_width, _) in zip(
            level.shapes_wh_px, own.shapes_wh_px, strict=True
        ):
            assert width == own_width and height == pytest.approx(width * ratio)


def test_the_ratio_is_no_worse_than_any_other() -> None:
    spec, boxes = zoo.detector_spec(zoo.F38), _heads(100)
    best = best_ious(boxes, with_ratios(spec, best_ratios(boxes, spec))).mean()
    for ratio in (0.5, 1.0, 1.3, 1.4, 1.5, 1.7, 3.0):
        assert best >= best_ious(boxes, with_ratios(spec, [ratio])).mean()


def test_three_ratios_are_better_than_the_networks_own() -> None:
    spec, boxes = zoo.detector_spec(zoo.RFB_C32), _heads(150)
    ratios = best_ratios(boxes, spec)
    assert len(ratios) == 3 and list(ratios) == sorted(ratios)
    assert best_ious(boxes, with_ratios(spec, ratios)).mean() > best_ious(boxes, spec).mean()
    with pytest.raises(InputError, match="has fixed anchor shapes"):
        best_ratios(boxes, zoo.detector_spec(zoo.F19))


def _two_levels() -> DetectorSpec:
    """The coarse level first; a non-square input."""
    coarse = AnchorLevel((2, 4), (32, 20), ((60.0, 50.0),))
    fine = AnchorLevel((6, 10), (8, 8), ((10.0, 10.0), (20.0, 16.0)))
    return DetectorSpec("any", 1.0, ("background", "x"), (48, 80), (coarse, fine))


def test_clusters_go_to_levels_by_stride() -> None:
    sides = np.repeat([(8.04, 12.06), (50.0, 40.0), (15.0, 20.0)], 4, axis=0)
    made = from_clusters(_two_levels(), kmeans_iou(sides, 3))
    assert made.levels[0].shapes_wh_px == ((50.0, 40.0),)
    assert made.levels[1].shapes_wh_px == ((8.0, 12.1), (15.0, 20.0))


def test_levels_cluster_their_own_boxes_or_keep_their_shapes() -> None:
    sides = np.repeat([(8.0, 12.0), (18.0, 20.0), (70.0, 40.0)], (10, 10, 9), axis=0)
    made = from_levels(_two_levels(), sides)
    assert made.levels[0].shapes_wh_px == ((60.0, 50.0),)  # 9 boxes are too few
    assert made.levels[1].shapes_wh_px == ((8.0, 12.0), (18.0, 20.0))


def test_shapes_stay_positive() -> None:
    made = with_shapes(_two_levels(), [np.array([[0.01, 5]]), np.array([[1, 2], [3, 4]])])
    assert made.levels[0].shapes_wh_px == ((0.1, 5.0),)
