"""What `persondet anchors` says: tables for people, one object for machines."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from benchmarks.tables import new_table, print_to_stdout
from persondet.anchor_proposal import Clusters, Proposal
from persondet.anchor_statistics import (
    MATCH_IOUS,
    PERCENTILES,
    Coverage,
    Distribution,
)
from persondet.anchor_study import AnchorStudy
from persondet.data.samples import DataSet
from persondet.spec import DetectorSpec, spec_to_dict


def distribution_table(study: AnchorStudy) -> Table:
    table = new_table("", numbers=["mean", *(f"{p} %" for p in PERCENTILES)])
    for name, distribution in study.distributions.items():
        numbers = (distribution.mean, *distribution.percentiles)
        table.add_row(name, *(f"{number:.2f}" for number in numbers))
    return table


def cluster_table(clusters: Clusters) -> Table:
    table = new_table("cluster", numbers=["width", "height", "height / width", "boxes"])
    rows = zip(clusters.centres_wh, clusters.shares, strict=True)
    for number, ((width, height), share) in enumerate(rows, 1):
        texts = (f"{width:.1f}", f"{height:.1f}", f"{height / width:.2f}", f"{share:.1%}")
        table.add_row(str(number), *texts)
    return table


def coverage_table(study: AnchorStudy) -> Table:
    columns = [*(f"{iou:g}" for iou in MATCH_IOUS), "mean IoU"]
    table = new_table(
        "shorter side",
        numbers=["boxes", *(f"{name} {column}" for name in study.coverage for column in columns)],
    )
    for rows in zip(*study.coverage.values(), strict=True):
        texts = []
        for row in rows:
            numbers = [*(row.recall or [None] * len(MATCH_IOUS)), row.mean_iou]
            texts += ["-" if number is None else f"{number:.3f}" for number in numbers]
        table.add_row(f"{rows[0].size}", str(rows[0].boxes), *texts)
    return table


def form_table(proposals: Sequence[Proposal]) -> Table:
    table = new_table("form", numbers=["mean IoU"])
    for proposal in proposals:
        table.add_row(proposal.form, f"{proposal.mean_iou:.3f}")
    return table


def level_table(spec: DetectorSpec) -> Table:
    table = new_table("stride", "grid", "anchors, width x height", numbers=[])
    for level in spec.levels:
        strides = {f"{stride:g}": None for stride in level.stride_hw_px}
        shapes = ", ".join(f"{width:.1f} x {height:.1f}" for width, height in level.shapes_wh_px)
        table.add_row(" x ".join(strides), "{} x {}".format(*level.grid_hw), shapes)
    return table


def print_report(study: AnchorStudy) -> None:
    tables: list[Table | str] = ["Boxes at network scale", distribution_table(study), ""]
    if study.clusters is not None:
        title = f"k-means on IoU; mean IoU {study.clusters.mean_iou:.3f} where centres are free"
        tables += [title, cluster_table(study.clusters), ""]
    recalls = " and ".join(f"{iou:g}" for iou in MATCH_IOUS)
    title = f"Of the best anchor where it stands: recall at IoU {recalls}, and mean IoU"
    tables += [title, coverage_table(study), ""]
    tables += ["Forms of anchors, the boxes that were fitted", form_table(study.proposals), ""]
    tables += [f"Proposed: {study.chosen.form}", level_table(study.chosen.spec)]
    print_to_stdout(*tables)


def report_json(dataset: DataSet, study: AnchorStudy) -> dict[str, Any]:
    return {
        "data": dataset.name,
        "images": len(dataset.samples),
        "boxes": len(study.boxes_norm),
        "dropped": dict(dataset.report.counts),
        "statistics": {
            name: {"mean": of_name.mean, **_by_percentile(of_name)}
            for name, of_name in study.distributions.items()
        },
        "clusters": None if study.clusters is None else _clusters_json(study.clusters),
        "recall": {
            name: {row.size: _coverage_json(row) for row in rows}
            for name, rows in study.coverage.items()
        },
        "mean_iou_of_forms": {proposal.form: proposal.mean_iou for proposal in study.proposals},
        "form": study.chosen.form,
        "spec": spec_to_dict(study.chosen.spec),
    }


def _by_percentile(distribution: Distribution) -> dict[str, float]:
    return {
        f"p{percent}": value
        for percent, value in zip(PERCENTILES, distribution.percentiles, strict=True)
    }


def _clusters_json(clusters: Clusters) -> dict[str, Any]:
    return {
        "sizes_wh_px": clusters.centres_wh.tolist(),
        "shares": clusters.shares.tolist(),
        "mean_iou": clusters.mean_iou,
    }


def _coverage_json(row: Coverage) -> dict[str, Any]:
    recall = row.recall or [None] * len(MATCH_IOUS)
    recalls = {f"recall_{iou:g}": value for iou, value in zip(MATCH_IOUS, recall, strict=True)}
    return {"boxes": row.boxes, **recalls, "mean_iou": row.mean_iou}
