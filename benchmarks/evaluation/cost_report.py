"""What `persondet evaluate` shows of several models, and `persondet quantize` of its result."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from benchmarks.evaluation.bootstrap import SEED
from benchmarks.evaluation.cost import POINTS, Against, Cost, EvaluatedModel
from benchmarks.evaluation.evaluation import Figure
from benchmarks.evaluation.report import FEW_PICTURES, evaluation_json
from persondet.wording import counted

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = ("AP50", "MR-2", "AP50 points", "95 % interval", "detections changed")


def cost_json(cost: Cost) -> dict[str, Any]:
    """Return every model's figures, JSON-ready; `against_reference` is null for the first."""
    evaluation = cost.reference.evaluation
    return {
        "reference": cost.reference.name,
        "data": evaluation.data,
        "score_threshold": evaluation.score_threshold,
        "resamples": evaluation.resamples,
        "seed": SEED,
        "models": [
            {
                **evaluation_json(model.evaluation, model.name, model.device),
                "against_reference": model.against and _against_json(model.against),
            }
            for model in cost.models
        ],
    }


def _against_json(against: Against) -> dict[str, Any]:
    detections = against.detections
    return {
        "ap50_difference": against.ap50.value,
        "ap50_difference_interval": _pair(against.ap50),
        "mr2_difference": against.mr2.value,
        "mr2_difference_interval": _pair(against.mr2),
        "detections_changed": against.changed,
        "reference_detections": detections.reference_count,
        "detections": detections.count,
        "vanished": detections.vanished,
        "appeared": detections.appeared,
    }


def cost_title(cost: Cost) -> str:
    """Return what was evaluated, and what each model ran on."""
    total = cost.reference.evaluation.total
    ignored = f", {total.ignored_boxes} more are ignored" if total.ignored_boxes else ""
    images = counted(total.images, "image")
    boxes = counted(total.boxes, "box")
    ran_on = "".join(f"\n{model.name}: {model.device}" for model in cost.models)
    return f"{cost.reference.evaluation.data}: {images}, {boxes} ({total.name}){ignored}{ran_on}"


def cost_table(cost: Cost) -> "Table":
    """Return one row per model."""
    from benchmarks.tables import new_table

    table = new_table("", numbers=_COLUMNS)
    for model in cost.models:
        figures = model.evaluation.total.figures
        table.add_row(
            model.name,
            _number(figures["ap50"].value),
            _number(figures["mr2"].value),
            *_against_cells(model),
        )
    return table


def cost_explanation(cost: Cost) -> str:
    """Return what the table's columns are."""
    evaluation = cost.reference.evaluation
    images = evaluation.total.images
    few = "" if images >= FEW_PICTURES else f" {counted(images, 'image')} say little."
    return (
        f"AP50 points: {POINTS} x (AP50 - AP50 of {cost.reference.name}), with the 95 % interval "
        f"of a bootstrap over the images ({evaluation.resamples} resamples, the same for both "
        f"models).{few} Detections changed: vanished + appeared, per detection of "
        f"{cost.reference.name} at score >= {evaluation.score_threshold:g}, matched within a class "
        "at IoU 0.5."
    )


def print_cost(cost: Cost, lines: Iterable[str] = ()) -> None:
    """Print title, table, explanation and further lines on standard output."""
    from benchmarks.tables import print_to_stdout

    print_to_stdout(cost_title(cost), "", cost_table(cost), "", cost_explanation(cost), *lines)


def _against_cells(model: EvaluatedModel) -> tuple[str, str, str]:
    if model.against is None:
        return "", "", ""
    ap50 = model.against.ap50
    interval = "-" if ap50.interval is None else " to ".join(map(_points, ap50.interval))
    return _points(ap50.value), interval, _changed(model.against)


def _changed(against: Against) -> str:
    """Return `3.7 % (12 + 8 of 540)`."""
    detections = against.detections
    counts = f"{detections.vanished} + {detections.appeared} of {detections.reference_count}"
    return counts if against.changed is None else f"{100 * against.changed:.1f} % ({counts})"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{POINTS * value:+.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _pair(figure: Figure) -> list[float] | None:
    return None if figure.interval is None else list(figure.interval)
