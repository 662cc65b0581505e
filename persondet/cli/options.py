"""Option types that several commands share."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class CommaSeparated(click.ParamType):
    """`a,b,c` to a tuple, each part converted by `item`."""

    name = "list"

    def __init__(self, item: click.ParamType):
        self.item = item

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(parts):
            self.fail(f"{value!r} is not a list like a,b,c", param, ctx)
        return tuple(self.item.convert(part, param, ctx) for part in parts)


class Points(click.types.FloatParamType):
    """AP50 points: a number. NaN, which every limit would let pass, is none."""

    name = "points"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


NAMES = CommaSeparated(click.STRING)
NUMBERS = CommaSeparated(click.FLOAT)

# For commands that take a data set as DATA or --data.
images_root_option = click.option(
    "--images-root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder that the file names of a FILE.json start from. Default: the file's own.",
)

_THRESHOLD_OPTIONS = (
    click.option("--score-threshold", type=float, help="0 to 1. Default: the model's own."),
    click.option(
        "--nms-iou",
        type=float,
        help="Overlap above which a box is a duplicate. Default: the model's.",
    ),
    click.option("--top-k", type=int, help="Most boxes a picture. Default: the model's own."),
    click.option("--classes", type=NAMES, metavar="NAMES", help="Only these: person,head."),
)
_MODEL_OPTIONS = (
    click.option(
        "--spec",
        "spec_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Spec or sidecar, for a model file that came without its own.",
    ),
    click.option("--threads", type=click.IntRange(min=1), help="Of onnxruntime or PyTorch."),
)


def detection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that opens a model and detects with it."""
    return _with_options(command, (*_THRESHOLD_OPTIONS, *_MODEL_OPTIONS))


def threshold_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that makes boxes of outputs, whoever ran the model."""
    return _with_options(command, _THRESHOLD_OPTIONS)


def _with_options(command: Callable[..., Any], options: tuple[Any, ...]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def model_spec_option(help: str) -> Callable[..., Any]:
    """`--spec FILE`, as `spec_path`; `persondet.cli.opening.read_spec` reads it."""
    return click.option(
        "--spec", "spec_path", type=click.Path(path_type=Path), metavar="FILE", help=help
    )
