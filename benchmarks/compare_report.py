"""What `persondet compare` shows: tables and JSON."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from benchmarks.compare import Comparison, Pair
from benchmarks.detection_difference import MATCH_IOU
from persondet.wording import counted

if TYPE_CHECKING:
    from rich.table import Table


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """JSON-ready. An SQNR that is no finite number is null: equal outputs, where max_abs is 0."""
    return {
        "images": comparison.images,
        "reference": comparison.reference,
        "score_threshold": comparison.score_threshold,
        "nms_iou": comparison.nms_iou,
        "match_iou": MATCH_IOU,
        "pairs": [_pair_json(pair) for pair in comparison.pairs],
    }


def _pair_json(pair: Pair) -> dict[str, Any]:
    return {
        "model": pair.model,
        "outputs": {
            name: {
                metric: value if math.isfinite(value) else None
                for metric, value in dataclasses.asdict(difference).items()
            }
            for name, difference in pair.outputs.items()
        },
        "detections": dataclasses.asdict(pair.detections),
        "worst_image": {
            "path": str(pair.worst_image.path),
            "detections": pair.worst_image.detections,
            "scores_max_abs": pair.worst_image.scores_max_abs,
        },
    }


def title_text(comparison: Comparison) -> str:
    pictures = counted(comparison.images, "picture")
    return f"Against {comparison.reference}, on {pictures}"


def outputs_table(comparison: Comparison) -> "Table":
    from benchmarks.tables import new_table

    numbers = ("max abs", "mean abs", "RMSE", "cosine", "SQNR dB")
    table = new_table("model", "raw output", numbers=numbers)
    for pair in comparison.pairs:
        for name, difference in pair.outputs.items():
            table.add_row(
                pair.model,
                name,
                f"{difference.max_abs:.3g}",
                f"{difference.mean_abs:.3g}",
                f"{difference.rmse:.3g}",
                f"{difference.cosine:.6f}",
                "equal" if difference.sqnr_db == math.inf else f"{difference.sqnr_db:.1f}",
            )
    return table


def detections_table(comparison: Comparison) -> "Table":
    from benchmarks.tables import new_table

    numbers = ("matched", "vanished", "appeared", "score diff mean", "max", "least IoU")
    table = new_table("model", "detections", numbers=numbers)
    for pair in comparison.pairs:
        found = pair.detections
        table.add_row(
            pair.model,
            f"{found.reference_count} -> {found.count}",
            str(found.matched),
            _with_score(found.vanished, found.vanished_max_score),
            _with_score(found.appeared, found.appeared_max_score),
            _number(found.mean_score_difference),
            _number(found.max_score_difference),
            _number(found.min_iou),
        )
    return table


def explanation_text(comparison: Comparison) -> str:
    return (
        f"Detections: score >= {comparison.score_threshold:g}, NMS at IoU {comparison.nms_iou:g}; "
        f"matched within a class at IoU >= {MATCH_IOU:g}. "
        "In brackets: the best score among those."
    )


def worst_lines(comparison: Comparison) -> list[str]:
    """Where to look: the picture on which each model's detections, or else its scores, differ
    most."""
    return [
        f"{pair.model} differs most on {pair.worst_image.path}"
        for pair in comparison.pairs
        if pair.worst_image.scores_max_abs > 0
    ]


def _with_score(count: int, score: float | None) -> str:
    return str(count) if score is None else f"{count} ({score:.2f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
