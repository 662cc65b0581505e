"""What `persondet evaluate` shows: tables and JSON."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.evaluation.bootstrap import SEED
from benchmarks.evaluation.evaluation import Evaluation, Figure, Summary
from benchmarks.evaluation.found import COLLECTING_THRESHOLD
from benchmarks.evaluation.threshold_sweep import OperatingPoint
from persondet.wording import counted

if TYPE_CHECKING:
    from rich.table import Table

_WORDS = {
    "ap": "AP (COCO, IoU 0.50:0.95)",
    "ap50": "AP50 (COCO)",
    "ap75": "AP75 (COCO)",
    "voc_ap50": "AP50 (VOC, every recall)",
    "mr2": "MR-2 (log-average miss rate)",
    "miss_rate": "miss rate",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}
_AT_THRESHOLD = ("miss_rate", "precision", "recall", "f1")
FEW_PICTURES = 20
_TABLE_STEPS = 2  # every second threshold of the sweep


def evaluation_json(evaluation: Evaluation, model: str, device: str) -> dict[str, Any]:
    """JSON-ready. What is not defined is null. One class, or the mean over the classes, on top."""
    return {
        "model": model,
        "data": evaluation.data,
        "device": device,
        "score_threshold": evaluation.score_threshold,
        "collecting_threshold": COLLECTING_THRESHOLD,
        "resamples": evaluation.resamples,
        "seed": SEED,
        "notes": [*evaluation.data_notes, *evaluation.limit_notes],
        **_summary_json(evaluation.total),
        "classes": {summary.name: _summary_json(summary) for summary in evaluation.classes},
    }


def _summary_json(summary: Summary) -> dict[str, Any]:
    figures = summary.figures
    return {
        "images": summary.images,
        "boxes": summary.boxes,
        "ignored_boxes": summary.ignored_boxes,
        **{name: figure.value for name, figure in figures.items()},
        **{f"{name}_interval": _pair(figure) for name, figure in figures.items()},
        "by_size": {
            name: {
                "boxes": size.boxes,
                "ap50": size.ap50.value,
                "ap50_interval": _pair(size.ap50),
            }
            for name, size in summary.by_size.items()
        },
        "ap_by_coco_size": dict(summary.coco_ap_by_size),
        "best_threshold": summary.best and summary.best.threshold,
        "best": summary.best and _point_json(summary.best),
        "sweep": [_point_json(point) for point in summary.sweep],
    }


def _pair(figure: Figure) -> list[float] | None:
    return None if figure.interval is None else list(figure.interval)


def _point_json(point: OperatingPoint) -> dict[str, Any]:
    return {**dataclasses.asdict(point), "miss_rate": point.miss_rate}


def title_text(evaluation: Evaluation, model: str, device: str) -> str:
    total = evaluation.total
    ignored = f", {total.ignored_boxes} more are ignored" if total.ignored_boxes else ""
    pictures, boxes = counted(total.images, "picture"), counted(total.boxes, "box")
    return f"{model} on {evaluation.data}: {pictures}, {boxes} ({total.name}){ignored}\n{device}"


def summaries(evaluation: Evaluation) -> Iterator[tuple[str, Summary]]:
    """Heading and figures: the mean over the classes first, where there are several."""
    if len(evaluation.classes) > 1:
        yield "Mean over the classes", evaluation.total
    for summary in evaluation.classes:
        boxes, pictures = counted(summary.boxes, "box"), counted(summary.images, "picture")
        yield f"{summary.name}: {boxes} in {pictures}", summary


def figures_table(evaluation: Evaluation, summary: Summary) -> "Table":
    from benchmarks.tables import new_table

    table = new_table("", numbers=("value", "95 % interval"))
    for name, figure in summary.figures.items():
        at = f" at score >= {evaluation.score_threshold:g}" if name in _AT_THRESHOLD else ""
        table.add_row(_WORDS[name] + at, *_cells(figure))
    for name, value in summary.coco_ap_by_size.items():
        table.add_row(f"AP of COCO's {name} boxes", _number(value), "")
    return table


def sizes_table(summary: Summary) -> "Table":
    from benchmarks.tables import new_table

    table = new_table("shorter side, px", numbers=("boxes", "AP50", "95 % interval"))
    for name, size in summary.by_size.items():
        table.add_row(name, str(size.boxes), *_cells(size.ap50))
    return table


def thresholds_table(summary: Summary) -> "Table":
    from benchmarks.tables import new_table

    numbers = ("precision", "recall", "F1", "false alarms / picture")
    table = new_table("score >=", numbers=numbers)
    for point in summary.sweep[1::_TABLE_STEPS]:
        table.add_row(f"{point.threshold:g}", *_point_cells(point))
    if summary.best is not None:
        best = summary.best
        table.add_row(f"{best.threshold:.3f} (best F1)", *_point_cells(best))
    return table


def explanation_text(evaluation: Evaluation) -> str:
    few = (
        ""
        if evaluation.total.images >= FEW_PICTURES
        else f" Of fewer than {FEW_PICTURES} pictures they say little."
    )
    return (
        f"Detections from score {COLLECTING_THRESHOLD:g} up. Sizes: after the picture is stretched "
        "to the network's input. Intervals: bootstrap over the pictures, "
        f"{evaluation.resamples} resamples.{few}"
    )


def _point_cells(point: OperatingPoint) -> tuple[str, ...]:
    return (
        _number(point.precision),
        _number(point.recall),
        _number(point.f1),
        f"{point.false_alarms_a_picture:.2f}",
    )


def _cells(figure: Figure) -> tuple[str, str]:
    interval = figure.interval
    return _number(
        figure.value
    ), "-" if interval is None else f"{interval[0]:.3f} - {interval[1]:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
