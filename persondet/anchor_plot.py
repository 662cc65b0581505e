"""A picture of how boxes and anchors are distributed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from persondet.anchor_statistics import MATCH_IOUS, coverage, sides_wh_px
from persondet.figure import save_figure
from persondet.spec import DetectorSpec

_COLOURS = ("tab:orange", "tab:green", "tab:purple")
_MAX_POINTS = 5000


def draw_distributions(
    path: Path, boxes_norm: np.ndarray, specs: Mapping[str, DetectorSpec], title: str
) -> None:
    """Widths and heights, ratios, every box with every anchor shape, recall by size.

    path: .png, .svg or .pdf. boxes_norm: (N, 4) relative to their pictures. specs: at most three,
    of one input size, by the name that the legend gives them.
    """
    from matplotlib.figure import Figure

    spec = next(iter(specs.values()))
    sides = sides_wh_px(boxes_norm, spec.input_size_hw)
    figure = Figure(figsize=(12, 9), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(2, 2)
    _draw_sides(axes[0, 0], sides)
    _draw_ratios(axes[0, 1], sides, specs)
    _draw_shapes(axes[1, 0], sides, specs)
    _draw_recall(axes[1, 1], boxes_norm, specs)
    save_figure(figure, path, dpi=110)


def _draw_sides(axes, sides_px: np.ndarray) -> None:
    bins = np.geomspace(max(sides_px.min(), 1), max(sides_px.max(), 2), 50)
    for column, name in enumerate(("width", "height")):
        label = f"{name}, median {np.median(sides_px[:, column]):.1f} px"
        axes.hist(sides_px[:, column], bins, histtype="step", linewidth=1.6, label=label)
    axes.set(xscale="log", xlabel="px at network scale", ylabel="boxes", title="Widths, heights")
    _plain_log_ticks(axes.xaxis)
    axes.legend()


def _draw_ratios(axes, sides_px: np.ndarray, specs: Mapping[str, DetectorSpec]) -> None:
    ratios = sides_px[:, 1] / sides_px[:, 0]
    axes.hist(ratios, np.linspace(0, np.percentile(ratios, 99) * 1.15, 60), color="tab:blue")
    for width, colour, (name, spec) in zip((5, 2, 1), _COLOURS, specs.items(), strict=False):
        for index, ratio in enumerate(sorted({round(h / w, 2) for w, h in _shapes(spec)})):
            label = None if index else f"anchors: {name}"
            axes.axvline(ratio, color=colour, linewidth=width, label=label)
    title = f"Height / width: mean {ratios.mean():.2f}, median {np.median(ratios):.2f}"
    axes.set(xlabel="height / width at network scale", ylabel="boxes", title=title)
    axes.legend()


def _draw_shapes(axes, sides_px: np.ndarray, specs: Mapping[str, DetectorSpec]) -> None:
    drawn = np.random.default_rng(0).permutation(len(sides_px))[:_MAX_POINTS]
    axes.scatter(*sides_px[drawn].T, s=4, alpha=0.25, color="tab:blue", label="boxes")
    for colour, (name, spec) in zip(_COLOURS, specs.items(), strict=False):
        label = f"anchors: {name}"
        axes.scatter(*_shapes(spec).T, marker="x", s=70, color=colour, label=label)
    title = "Boxes and anchor shapes"
    axes.set(xscale="log", yscale="log", xlabel="width, px", ylabel="height, px", title=title)
    _plain_log_ticks(axes.xaxis)
    _plain_log_ticks(axes.yaxis)
    axes.legend()


def _draw_recall(axes, boxes_norm: np.ndarray, specs: Mapping[str, DetectorSpec]) -> None:
    width = 0.8 / len(specs)
    for index, (colour, (name, spec)) in enumerate(zip(_COLOURS, specs.items(), strict=False)):
        rows = coverage(boxes_norm, spec)
        at = np.arange(len(rows)) + (index - (len(specs) - 1) / 2) * width
        for which, (threshold, alpha) in enumerate(zip(MATCH_IOUS, (0.4, 1.0), strict=True)):
            shares = [row.recall[which] if row.recall else 0 for row in rows]
            label = f"{name}, IoU {threshold:g}"
            axes.bar(at, shares, width * 0.9, color=colour, alpha=alpha, label=label)
        axes.set_xticks(range(len(rows)), [f"{row.size}\n{row.boxes}" for row in rows])
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set(xlabel="shorter side, px, and boxes", ylim=(0, 1.35), title="Recall of the anchors")
    axes.legend(ncols=len(specs), loc="upper center")


def _shapes(spec: DetectorSpec) -> np.ndarray:
    return np.array([shape for level in spec.levels for shape in level.shapes_wh_px])


def _plain_log_ticks(axis) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
