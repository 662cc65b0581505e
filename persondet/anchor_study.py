"""All that is to be known before a network's anchors are chosen."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from persondet.anchor_proposal import (
    FORMS,
    Clusters,
    Proposal,
    anchors_a_cell,
    kmeans_iou,
    proposals,
)
from persondet.anchor_statistics import (
    Coverage,
    Distribution,
    boxes_xyxy_norm,
    coverage,
    distributions,
    sides_wh_px,
)
from persondet.data.samples import DataSet
from persondet.errors import InputError
from persondet.spec import DetectorSpec

BEST = "best"


@dataclass(frozen=True, eq=False)
class AnchorStudy:
    """boxes_norm: (N, 4) xyxy relative to their pictures. clusters: None where there are fewer
    boxes than clusters. proposals: the best first. coverage: of "model" and of "proposed"."""

    boxes_norm: np.ndarray
    distributions: Mapping[str, Distribution]
    clusters: Clusters | None
    proposals: tuple[Proposal, ...]
    chosen: Proposal
    coverage: Mapping[str, tuple[Coverage, ...]]


def study_anchors(
    dataset: DataSet,
    spec: DetectorSpec,
    *,
    form: str = BEST,
    min_side_px: float = 0.0,
    seed: int = 0,
) -> AnchorStudy:
    """form: of the proposal, one of FORMS, or BEST. min_side_px: clusters and proposals are fitted
    to boxes whose shorter side at network scale is at least this; the rest is said of all boxes.

    Raises InputError where there are no boxes, or not enough for the form.
    """
    boxes = boxes_xyxy_norm(dataset)
    sides = sides_wh_px(boxes, spec.input_size_hw)
    large = sides.min(axis=1) >= min_side_px
    if not large.any():
        raise InputError(f"{dataset.name} has no box with a side of at least {min_side_px:g} px")
    count = sum(anchors_a_cell(spec))
    clusters = kmeans_iou(sides[large], count, seed=seed) if large.sum() >= count else None
    made = proposals(boxes[large], spec, clusters, seed=seed)
    chosen = made[0] if form == BEST else _of_form(made, form, spec)
    return AnchorStudy(
        boxes,
        distributions(sides),
        clusters,
        tuple(made),
        chosen,
        {
            "model": tuple(coverage(boxes, spec)),
            "proposed": tuple(coverage(boxes, chosen.spec)),
        },
    )


def _of_form(made: list[Proposal], form: str, spec: DetectorSpec) -> Proposal:
    found = [proposal for proposal in made if proposal.form == form]
    if not found:
        why = {
            "ratio": f"{spec.network} has fixed anchor shapes, no ratios",
            "clusters": f"{sum(anchors_a_cell(spec))} clusters need at least as many boxes",
        }
        raise InputError(f"no anchors of the form {form}: {why.get(form, f'expected {FORMS}')}")
    return found[0]
