"""Anchors from the data, in the form of a spec that can be trained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from persondet import zoo
from persondet.anchor_statistics import best_ious, sides_wh_px
from persondet.errors import InputError
from persondet.spec import DetectorSpec

FORMS = ("ratio", "levels", "clusters")
MIN_BOXES_A_SHAPE = 10  # fewer say nothing about a shape
MAX_BOXES = 20_000  # of larger sets this many are drawn: the clusters do not change, the time does
_RATIOS = np.round(np.arange(0.4, 4.0001, 0.02), 2)  # height / width


@dataclass(frozen=True, eq=False)
class Clusters:
    """centres_wh: (k, 2), by area. shares: (k,) of the boxes. mean_iou: of boxes and centres."""

    centres_wh: np.ndarray
    shares: np.ndarray
    mean_iou: float


def shape_ious(sides_wh: np.ndarray, centres_wh: np.ndarray) -> np.ndarray:
    """(N, 2), (k, 2) widths and heights to (N, k) IoU of boxes with one common centre."""
    intersection = np.minimum(sides_wh[:, None, 0], centres_wh[None, :, 0])
    intersection = intersection * np.minimum(sides_wh[:, None, 1], centres_wh[None, :, 1])
    areas = sides_wh.prod(axis=1)[:, None] + centres_wh.prod(axis=1)[None]
    return intersection / (areas - intersection)


def kmeans_iou(sides_wh: np.ndarray, count: int, *, seed: int = 0, restarts: int = 10) -> Clusters:
    """k-means of (N, 2) widths and heights with the distance 1 - IoU (Redmon, Farhadi 2017, 2).

    Starts are drawn as k-means++ does (Arthur, Vassilvitskii 2007); the best restart by mean IoU.
    Raises InputError for fewer boxes than clusters.
    """
    if len(sides_wh) < count:
        raise InputError(f"{count} clusters need at least as many boxes, got {len(sides_wh)}")
    rng = np.random.default_rng(seed)
    sides_wh = _drawn(sides_wh, rng)
    starts = [_plus_plus(sides_wh, count, rng) for _ in range(restarts)]
    best = max((refined(sides_wh, start) for start in starts), key=lambda result: result.mean_iou)
    order = np.argsort(best.centres_wh.prod(axis=1), kind="stable")
    return replace(best, centres_wh=best.centres_wh[order], shares=best.shares[order])


def _drawn(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if len(rows) <= MAX_BOXES:
        return rows
    return rows[rng.choice(len(rows), MAX_BOXES, replace=False)]


def _plus_plus(sides_wh: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Each next centre is a box drawn with the square of its distance to the centres so far."""
    centres = sides_wh[[rng.integers(len(sides_wh))]]
    while len(centres) < count:
        weights = (1 - shape_ious(sides_wh, centres).max(axis=1)).clip(0) ** 2
        total = weights.sum()
        drawn = rng.choice(len(sides_wh), p=weights / total if total else None)
        centres = np.concatenate([centres, sides_wh[[drawn]]])
    return centres


def refined(sides_wh: np.ndarray, centres_wh: np.ndarray) -> Clusters:
    """Lloyd's steps, each centre to the mean of its boxes, as long as the mean IoU grows.

    A centre without boxes stays where it is.
    """
    best: Clusters | None = None
    while True:
        ious = shape_ious(sides_wh, centres_wh)
        nearest = ious.argmax(axis=1)
        mean_iou = float(ious.max(axis=1).mean())
        if best is not None and mean_iou <= best.mean_iou:
            return best
        members = np.bincount(nearest, minlength=len(centres_wh))
        best = Clusters(centres_wh, members / len(sides_wh), mean_iou)
        sums = np.stack(
            [np.bincount(nearest, sides_wh[:, i], len(centres_wh)) for i in (0, 1)], axis=1
        )
        means = sums / np.maximum(members, 1)[:, None]
        centres_wh = np.where(members[:, None] > 0, means, centres_wh)


def anchors_a_cell(spec: DetectorSpec) -> list[int]:
    return [len(level.shapes_wh_px) for level in spec.levels]


def with_shapes(spec: DetectorSpec, shapes_wh_px: Sequence[np.ndarray]) -> DetectorSpec:
    """The spec with other anchor shapes, (S, 2) of each level, rounded to 0.1 px."""
    levels = []
    for level, shapes in zip(spec.levels, shapes_wh_px, strict=True):
        rounded = tuple(
            (max(round(float(w), 1), 0.1), max(round(float(h), 1), 0.1)) for w, h in shapes
        )
        levels.append(replace(level, shapes_wh_px=rounded))
    return replace(spec, levels=tuple(levels))


@dataclass(frozen=True)
class Proposal:
    """form: one of FORMS, or "own" for the spec's anchors as they are. mean_iou: of the boxes with
    their best anchors where these stand."""

    form: str
    spec: DetectorSpec
    mean_iou: float


def proposals(
    boxes_norm: np.ndarray, spec: DetectorSpec, clusters: Clusters | None, *, seed: int = 0
) -> list[Proposal]:
    """Every form that the network and the data allow, the best first.

    boxes_norm: (N, 4) relative to their pictures; clusters: of their sides at network scale, as
    many as the levels' anchors a cell, or None.
    """
    specs = {"own": spec}
    if zoo.default_anchor_ratios(spec.network):
        specs["ratio"] = with_ratios(spec, best_ratios(boxes_norm, spec, seed=seed))
    specs["levels"] = from_levels(spec, sides_wh_px(boxes_norm, spec.input_size_hw), seed=seed)
    if clusters is not None:
        specs["clusters"] = from_clusters(spec, clusters)
    made = [
        Proposal(form, made_spec, float(best_ious(boxes_norm, made_spec).mean()))
        for form, made_spec in specs.items()
    ]
    return sorted(made, key=lambda proposal: -proposal.mean_iou)


def from_clusters(spec: DetectorSpec, clusters: Clusters) -> DetectorSpec:
    """The clusters handed out by size: the smallest to the level of the smallest stride.

    clusters: as many as all levels' anchors a cell, at network scale. The number of anchors of a
    level stays, so the network keeps its heads.
    """
    levels = sorted(range(len(spec.levels)), key=lambda i: spec.levels[i].stride_hw_px)
    counts = anchors_a_cell(spec)
    shapes: list[np.ndarray] = [np.empty((0, 2))] * len(levels)
    begin = 0
    for level in levels:
        shapes[level] = clusters.centres_wh[begin : begin + counts[level]]
        begin += counts[level]
    return with_shapes(spec, shapes)


def from_levels(spec: DetectorSpec, sides_px: np.ndarray, *, seed: int = 0) -> DetectorSpec:
    """Clusters of each level's own boxes: those that its present shapes fit best.

    A level that has fewer than MIN_BOXES_A_SHAPE for each of its shapes keeps them.
    """
    shapes = [np.array(level.shapes_wh_px) for level in spec.levels]
    fits = [shape_ious(sides_px, cell).max(axis=1) for cell in shapes]
    level_of_box = np.argmax(fits, axis=0)
    for index, cell in enumerate(shapes):
        own = sides_px[level_of_box == index]
        if len(own) >= MIN_BOXES_A_SHAPE * len(cell):
            shapes[index] = kmeans_iou(own, len(cell), seed=seed).centres_wh
    return with_shapes(spec, shapes)


def best_ratios(boxes_norm: np.ndarray, spec: DetectorSpec, *, seed: int = 0) -> tuple[float, ...]:
    """The height / width ratios with which the network's own widths cover the boxes best.

    By mean IoU with the best anchor where it stands. Several ratios start at the data's quantiles
    and are bettered one after the other, twice.
    Raises InputError for a network that does not take ratios.
    """
    count = len(zoo.default_anchor_ratios(spec.network))
    if not count:
        raise InputError(f"{spec.network} has fixed anchor shapes, no ratios")
    boxes = _drawn(boxes_norm, np.random.default_rng(seed))
    sides = sides_wh_px(boxes, spec.input_size_hw)
    quantiles = (np.arange(count) + 0.5) / count
    ratios = list(np.quantile(sides[:, 1] / sides[:, 0], quantiles))
    for _ in range(1 if count == 1 else 2):
        for index in range(count):
            ratios[index] = max(
                _RATIOS,
                key=lambda ratio: best_ious(
                    boxes, with_ratios(spec, [*ratios[:index], ratio, *ratios[index + 1 :]])
                ).mean(),
            )
    return tuple(sorted(float(ratio) for ratio in ratios))


def with_ratios(spec: DetectorSpec, ratios: Sequence[float]) -> DetectorSpec:
    """The spec with the network's own anchor widths and these height / width ratios."""
    levels = zoo.detector_spec(spec.network, anchor_ratios=tuple(map(float, ratios))).levels
    return replace(spec, levels=levels)
