"""The curves of an evaluation as pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.evaluation.evaluation import Evaluation, Summary
from benchmarks.evaluation.miss_rate import FALSE_ALARMS_A_PICTURE
from benchmarks.evaluation.tally import Tally
from persondet.figure import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_INCHES = (7.0, 5.0)
_DPI = 120
_MISS_RATE_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.64, 0.8, 1.0)


def draw_curves(evaluation: Evaluation, model: str, folder: Path) -> list[Path]:
    """Write precision_recall.png, miss_rate.png and thresholds.png; returns their paths.

    Raises InputError where the folder cannot be written.
    """
    title = f"{model} on {evaluation.data}"
    return [
        _drawn(folder / "precision_recall.png", title, evaluation, _precision_recall),
        _drawn(folder / "miss_rate.png", title, evaluation, _miss_rate),
        _drawn(folder / "thresholds.png", title, evaluation, _thresholds),
    ]


def _drawn(
    path: Path, title: str, evaluation: Evaluation, draw: "Callable[[Axes, Evaluation], None]"
) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(_SIZE_INCHES, layout="constrained")  # no pyplot: no window, no state
    axes = figure.add_subplot()
    draw(axes, evaluation)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    save_figure(figure, path, dpi=_DPI, file_format="png")
    return path


def _precision_recall(axes: "Axes", evaluation: Evaluation) -> None:
    for summary in evaluation.classes:
        true, false = (running[1:] for running in _running(evaluation.tallies[summary.name]))
        label = f"{summary.name}, AP50 {_with_interval(summary, 'ap50')}"
        line = axes.plot(true / summary.boxes, true / (true + false), label=label)[0]
        working = summary.working
        if working.precision is not None:
            label = f"score >= {working.threshold:g}"
            _dot(axes, (working.recall, working.precision), line.get_color(), "o", label)
        if summary.best is not None and summary.best.precision is not None:
            label = f"best F1 {summary.best.f1:.2f}, score >= {summary.best.threshold:.2f}"
            point = (summary.best.recall, summary.best.precision)
            _dot(axes, point, line.get_color(), "s", label)
    axes.set(xlabel="recall", ylabel="precision at IoU 0.5", xlim=(0, 1), ylim=(0, 1.02))


def _miss_rate(axes: "Axes", evaluation: Evaluation) -> None:
    for summary in evaluation.classes:
        tally = evaluation.tallies[summary.name]
        true, false = _running(tally)
        a_picture = false / int(tally.annotated.sum())
        label = f"{summary.name}, MR-2 {_with_interval(summary, 'mr2')}"
        # A logarithm has no 0: where there is no false alarm yet, the curve comes from the left.
        shown = np.maximum(a_picture, FALSE_ALARMS_A_PICTURE[0] / 10)
        missed = np.maximum(1 - true / summary.boxes, _MISS_RATE_TICKS[0])
        line = axes.plot(shown, missed, drawstyle="steps-post", label=label)[0]
        working = summary.working
        point = (
            max(working.false_alarms_a_picture, shown[0]),
            max(working.miss_rate, _MISS_RATE_TICKS[0]),
        )
        _dot(axes, point, line.get_color(), "o", f"score >= {working.threshold:g}")
    axes.axvspan(
        FALSE_ALARMS_A_PICTURE[0],
        FALSE_ALARMS_A_PICTURE[-1],
        color="grey",
        alpha=0.12,
        label="range of the mean",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(FALSE_ALARMS_A_PICTURE[0] / 10, None)
    axes.set_yticks(_MISS_RATE_TICKS, [f"{tick:g}" for tick in _MISS_RATE_TICKS])
    axes.set_yticks([], minor=True)
    axes.set_ylim(_MISS_RATE_TICKS[0], 1.05)
    axes.set(xlabel="false alarms a picture", ylabel="miss rate at IoU 0.5")


def _thresholds(axes: "Axes", evaluation: Evaluation) -> None:
    sweep = evaluation.total.sweep
    thresholds = [point.threshold for point in sweep]
    precisions = [np.nan if p.precision is None else p.precision for p in sweep]
    axes.plot(thresholds, precisions, label="precision")
    axes.plot(thresholds, [point.recall for point in sweep], label="recall")
    axes.plot(thresholds, [point.f1 for point in sweep], label="F1")
    axes.axvline(
        evaluation.score_threshold, color="grey", linestyle="--", label="working threshold"
    )
    if (best := evaluation.total.best) is not None:
        label = f"best F1 {best.f1:.2f} at {best.threshold:.2f}"
        axes.axvline(best.threshold, color="grey", linestyle=":", label=label)
    axes.set(xlabel="score threshold", ylabel="at IoU 0.5", xlim=(0, 1), ylim=(0, 1.02))


def _running(tally: Tally) -> tuple[np.ndarray, np.ndarray]:
    """(N + 1,) true and false detections, from none to all of them."""
    true, false = np.cumsum(tally.is_true), np.cumsum(~tally.is_true)
    return np.concatenate([[0], true]), np.concatenate([[0], false])


def _dot(axes: "Axes", point: tuple[float, float], colour: Any, marker: str, label: str) -> None:
    axes.plot(*point, color=colour, marker=marker, linestyle="none", label=label)


def _with_interval(summary: Summary, name: str) -> str:
    figure = summary.figures[name]
    if figure.value is None or figure.interval is None:
        return "-" if figure.value is None else f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.interval[0]:.2f} - {figure.interval[1]:.2f})"
