"""What a quantization cost, said by `persondet quantize --data` at once."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persondet.cli.annotated import AnnotatedImages
from persondet.cli.options import Points, images_root_option
from persondet.cli.sdk_options import typed_options
from persondet.errors import PersondetError

if TYPE_CHECKING:
    from benchmarks.evaluation.truth import Truth
    from quantize.quantizer import QuantizeResult

_NEED_DATA = ("images_root", "confirm", "max_drop")
_OPTIONS = (
    click.option(
        "--data",
        metavar="DATA",
        help="Annotated images, as `evaluate --data` takes them: say what the quantization cost, "
        "by the QDQ ONNX, and check on some images that the HTP agrees.",
    ),
    images_root_option,
    click.option(
        "--confirm",
        type=click.IntRange(min=0),
        default=20,
        show_default=True,
        metavar="N",
        help="With --data: images on which the DLC itself runs on the HTP, taken evenly. 0: none.",
    ),
    click.option(
        "--max-drop",
        type=Points(),
        metavar="POINTS",
        help="With --data: exit with 1 if over so many AP50 points are lost; 0.5 is an AP50 of "
        "0.005. The files stay.",
    ),
)


def cost_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --data, --images-root, --confirm and --max-drop, which `check_cost_options` reads."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_cost_options(options: Mapping[str, Any], *, sdk: bool) -> None:
    """Raise click.UsageError for options that mean nothing without --data, or with an SDK."""
    if options["data"] is None:
        if given := typed_options(_NEED_DATA):
            raise click.UsageError(f"{', '.join(given)} needs --data, the annotated images")
    elif sdk:
        raise click.UsageError(
            "--data needs --toolchain embedded, as an SDK writes no ONNX that stands for its DLC; "
            "`persondet evaluate` takes the float model and the DLC side by side"
        )


def cost_reporter(
    model: str, spec_path: Path | None, options: Mapping[str, Any]
) -> "Callable[[QuantizeResult], None]":
    """Read the ground truth, and return what says the cost of a result.

    Raises InputError for --data that cannot be used, before anything is quantized. What is returned
    raises PersondetError if the cost is over --max-drop, or the HTP does not agree.
    """
    if options["data"] is None:
        return lambda result: None
    images = AnnotatedImages(
        data=options["data"], images_root=options["images_root"], spec_path=spec_path
    )
    truth = images.truth_if_known(model) or images.truth(_class_names(model, spec_path))
    return lambda result: _report(model, images, truth, result, options)


def _class_names(model: str, spec_path: Path | None) -> Sequence[str]:
    """Return the classes of a model without a sidecar; what its loader assumes is said later."""
    from persondet.cli.onnx_input import given_spec
    from persondet.models import resolve_model
    from runtime.backend import open_backend

    with contextlib.closing(open_backend(resolve_model(model), given_spec(spec_path))) as backend:
        return backend.spec.class_names


def _report(
    model: str,
    images: AnnotatedImages,
    known: "Truth",
    result: "QuantizeResult",
    options: Mapping[str, Any],
) -> None:
    from benchmarks.evaluation.cost import cost_of
    from benchmarks.evaluation.cost_report import print_cost
    from benchmarks.evaluation.figure_limits import cost_violations
    from benchmarks.tables import print_to_stdout
    from persondet.cli.evaluation_run import confirmed
    from persondet.cli.onnx_input import given_spec
    from persondet.models import resolve_model

    reference, truth = images.found_by(model, known)
    quantized, truth = images.found_by(str(result.qdq), truth, reference=reference)
    cost = cost_of(truth, reference, [quantized])
    print_to_stdout("")
    print_cost(cost)
    problems = cost_violations(cost, (), options["max_drop"])
    if options["confirm"]:
        confirmation = confirmed(
            truth,
            result.qdq,
            result.dlc.path,
            resolve_model(model),
            options["confirm"],
            given_spec(images.spec_path),
        )
        print_to_stdout("", *confirmation.lines())
        problems += confirmation.problems()
    _fail_for(problems)


def _fail_for(problems: Sequence[str]) -> None:
    if problems:
        texts = ["the files are written, and stay, but:", *problems]
        raise PersondetError("\n  ".join(texts))
