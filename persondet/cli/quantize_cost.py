"""What a quantization cost, said by `persondet quantize --data` at once."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persondet.cli.annotated import AnnotatedImages
from persondet.cli.options import Points, images_root_option
from persondet.cli.sdk_options import typed_options
from persondet.errors import InputError, PersondetError
from persondet.wording import counted

if TYPE_CHECKING:
    from benchmarks.evaluation.cost import ModelFound
    from benchmarks.evaluation.truth import Truth
    from quantize.mixed_precision import FoundMix, MixSearch, Try
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
        "0.005. The files stay. With --auto: the limit of the search.",
    ),
    click.option(
        "--auto",
        is_flag=True,
        help="Mixed precision: find the fewest layers that need 16-bit activations or weights per "
        "channel to lose at most --max-drop AP50 points on --data. Each try is evaluated there by "
        "its QDQ ONNX.",
    ),
)


def cost_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --data, --images-root, --confirm, --max-drop and --auto, which `check_cost_options`
    reads."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_cost_options(options: Mapping[str, Any], *, sdk: bool) -> None:
    """Raise click.UsageError for options that mean nothing without --data, or with an SDK, and for
    --auto without what it searches by."""
    if options["auto"]:
        _check_auto(options, sdk=sdk)
    if options["data"] is None:
        if given := typed_options(_NEED_DATA):
            raise click.UsageError(f"{', '.join(given)} needs --data, the annotated images")
    elif sdk:
        raise click.UsageError(
            "--data needs --toolchain embedded, as an SDK writes no ONNX that stands for its DLC; "
            "`persondet evaluate` takes the float model and the DLC side by side"
        )


def _check_auto(options: Mapping[str, Any], *, sdk: bool) -> None:
    if sdk:
        raise click.UsageError(
            "--auto needs --toolchain embedded: it writes and evaluates a graph for each try"
        )
    needed = {"--data": options["data"], "--max-drop": options["max_drop"]}
    if missing := [name for name, value in needed.items() if value is None]:
        raise click.UsageError(
            f"--auto needs {' and '.join(missing)}: annotated images, and how many AP50 points may "
            "be lost on them (0.5 is an AP50 of 0.005)"
        )
    if options["act_bits"] != "8":
        raise click.UsageError("--auto needs --act-bits 8: it finds what needs 16 bits")


def cost_reporter(
    model: str, spec_path: Path | None, options: Mapping[str, Any]
) -> "CostReporter | None":
    """Read the ground truth; None without --data.

    Raises InputError for --data that cannot be used, before anything is quantized.
    """
    if options["data"] is None:
        return None
    images = AnnotatedImages(
        data=options["data"], images_root=options["images_root"], spec_path=spec_path
    )
    truth = images.truth_if_known(model) or images.truth(_class_names(model, spec_path))
    return CostReporter(model, images, truth, options)


def _class_names(model: str, spec_path: Path | None) -> Sequence[str]:
    """Return the classes of a model without a sidecar; what its loader assumes is said later."""
    from persondet.cli.onnx_input import given_spec
    from persondet.models import resolve_model
    from runtime.backend import open_backend

    with contextlib.closing(open_backend(resolve_model(model), given_spec(spec_path))) as backend:
        return backend.spec.class_names


class CostReporter:
    """What quantizing a model costs on annotated images."""

    def __init__(
        self, model: str, images: AnnotatedImages, truth: "Truth", options: Mapping[str, Any]
    ) -> None:
        self._model = model
        self._images = images
        self._known = truth
        self._options = options

    def search(self) -> "MixSearch | None":
        """Return what --auto searches by; None without --auto."""
        from quantize.mixed_precision import MixSearch

        if not self._options["auto"]:
            return None
        return MixSearch(
            max_drop=self._options["max_drop"], points_lost=self._points_lost, report=_say_try
        )

    def say(self, result: "QuantizeResult") -> None:
        """Print the cost of a result, and whether the HTP agrees.

        Raises PersondetError if the cost is over --max-drop, or the HTP does not agree.
        """
        from benchmarks.evaluation.cost import cost_of
        from benchmarks.evaluation.cost_report import print_cost
        from benchmarks.evaluation.figure_limits import cost_violations
        from benchmarks.tables import print_to_stdout
        from persondet.cli.evaluation_run import confirmed
        from persondet.cli.onnx_input import given_spec
        from persondet.models import resolve_model

        reference, truth = self._reference
        quantized, truth = self._images.found_by(str(result.qdq), truth, reference=reference)
        cost = cost_of(truth, reference, [quantized])
        print_to_stdout("")
        print_cost(cost)
        problems = cost_violations(cost, (), self._options["max_drop"])
        if self._options["confirm"]:
            confirmation = confirmed(
                truth,
                result.qdq,
                result.dlc.path,
                resolve_model(self._model),
                self._options["confirm"],
                given_spec(self._images.spec_path),
            )
            print_to_stdout("", *confirmation.lines())
            problems += confirmation.problems()
        _fail_for(problems)

    @functools.cached_property
    def _reference(self) -> "tuple[ModelFound, Truth]":
        return self._images.found_by(self._model, self._known)

    def _points_lost(self, qdq: Path) -> float:
        """Evaluate a try. Raises InputError if the images have no box to be found."""
        from benchmarks.evaluation.cost import cost_of

        reference, truth = self._reference
        images = dataclasses.replace(self._images, use_cache=False)  # a try is not met again
        found, truth = images.found_by(str(qdq), truth, reference=reference)
        (row,) = cost_of(truth, reference, [found], resamples=0).others
        lost = row.against.points_lost if row.against else None
        if lost is None:
            raise InputError(
                f"--data {self._options['data']}: AP50 is not defined, as it has no box of the "
                "model's classes; --auto cannot search by it"
            )
        return lost


def _say_try(found: "Try") -> None:
    click.echo(f"tried {mix_words(found.wide, found.per_channel)}: {_points(found.points_lost)}")


def mix_lines(found: "FoundMix") -> list[str]:
    """What --auto found, for people."""
    words = mix_words(len(found.wide), len(found.per_channel))
    lines = [
        f"mixed precision: {words}, of {counted(found.layers, 'layer')}: "
        f"{_points(found.points_lost)} of at most {found.max_drop:g}; "
        f"{counted(len(found.tries), 'mix')} tried"
    ]
    if found.wide:
        lines.append(f"  16 bits: {', '.join(found.wide)}")
        lines.append(
            f"  {counted(found.converts, 'convert')} between 8 and 16 bits, "
            f"{found.macs_share:.1%} of the multiplications at 16 bits"
        )
    if found.per_channel:
        lines.append(f"  weights per channel: {', '.join(found.per_channel)}")
    return lines


def mix_words(wide: int, per_channel: int) -> str:
    """Say how many layers differ from the scheme."""
    parts = [f"{counted(wide, 'layer')} at 16 bits"] if wide else []
    parts += [f"{counted(per_channel, 'layer')} with weights per channel"] if per_channel else []
    return ", ".join(parts) or "8 bits everywhere"


def _points(lost: float) -> str:
    return f"{lost:.2f} AP50 points lost"


def _fail_for(problems: Sequence[str]) -> None:
    if problems:
        texts = ["the files are written, and stay, but:", *problems]
        raise PersondetError("\n  ".join(texts))
