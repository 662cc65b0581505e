"""A picture of a run: losses, rate and validation by epoch."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from persondet.figure import save_figure
from persondet.files import FormatError, parse_json, read_text

_PANELS = (
    ("losses", ("classification_loss", "localisation_loss", "distillation_loss")),
    ("validation", ("ap50", "ap", "recall")),
    ("learning rate", ("learning_rate",)),
)


def draw_curves(log: Path, destination: Path) -> Path | None:
    """Draw log.jsonl as a PNG; None where matplotlib is not installed or there is no epoch."""
    records = read_log(log)
    if not records or find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.5), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        for name in names:
            points = [(r["epoch"], r[name]) for r in records if name in r]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=name.replace("_", " "))
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_ylim(bottom=0)
        if axes.lines:
            axes.legend()
    save_figure(figure, destination, dpi=110, file_format="png")
    return destination


def read_log(log: Path) -> list[dict[str, Any]]:
    """The records of log.jsonl, one an epoch; of an epoch that was run twice, the later."""
    if not log.exists():
        return []
    records = {}
    for number, line in enumerate(read_text(log, "the log").splitlines(), 1):
        try:
            record = parse_json(line)
            records[int(record["epoch"])] = record
        except (ValueError, KeyError, TypeError, OverflowError):
            raise FormatError(
                f"cannot read the log {log}: line {number} is not an epoch's record; remove it"
            ) from None
    return list(records.values())
