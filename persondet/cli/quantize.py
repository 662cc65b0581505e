"""`persondet quantize`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persondet.cli.onnx_input import beside, given_spec, onnx_of, onnx_spec_option
from persondet.cli.quantize_cost import check_cost_options, cost_options, cost_reporter, mix_lines
from persondet.cli.quantize_sdk import (
    QUANTIZER_NAMES,
    SdkJob,
    dry_run,
    echo_calibration,
    intent_of,
    quantizer_options,
    through_sdk,
)
from persondet.cli.sdk_options import (
    chosen_sdk,
    sdk_options,
    soc_names,
    soc_options,
    typed_options,
)
from quantize.presets import DEFAULT_PRESET, PRESETS, Equalization, Rounding, recipe_of

if TYPE_CHECKING:
    from quantize.equalization import Equalized

_OF_CALIBRATION = (
    *("per_channel", "act_bits", "calibration", "max_pictures", "preset", "equalize"),
    *("correct_biases", "rounding", "auto"),
)


@click.command()
@click.argument("model")
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    metavar="DIR|LIST|VIDEO|DATA",
    help="the calibration set: a folder of pictures, a text file with one a line, a video, or a "
    "data set as `train` takes it",
)
@click.option(
    "--encodings",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="encodings of an earlier run (.encodings.json) instead of pictures; SDK: besides them",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.dlc",
    help="default: MODEL.quantized.dlc",
)
@click.option("--per-channel", is_flag=True, help="weights: one symmetric scale an output channel")
@click.option(
    "--act-bits",
    type=click.Choice(["8", "16"]),
    default="8",
    show_default=True,
    help="bits of activations",
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default=DEFAULT_PRESET,
    show_default=True,
    help="; ".join(f"{preset.name}: {preset.summary}" for preset in PRESETS.values()) + ".",
)
@click.option(
    "--equalize",
    type=click.Choice([method.value for method in Equalization]),
    help="Rescale channels before calibration, in place of the preset's way.",
)
@click.option(
    "--correct-biases/--no-correct-biases",
    default=None,
    help="Take off the biases what rounding does to the channels' means. [default: the preset's]",
)
@click.option(
    "--rounding",
    type=click.Choice([rounding.value for rounding in Rounding]),
    help="adaptive: round each weight with an eye on what its layer makes. [default: the preset's]",
)
@click.option(
    "--calibration",
    type=click.Choice(["minmax", "percentile", "entropy", "mse", "sqnr"]),
    help="Method that chooses activation ranges; sqnr, SNPE's `enhanced`, needs an SDK. "
    "[default: the preset's; with an SDK minmax]",
)
@click.option(
    "--max-pictures",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="taken evenly from the set",
)
@click.option("--context-binary", is_flag=True, help="also compile ahead of time for --soc")
@soc_options
@onnx_spec_option
@cost_options
@quantizer_options
@sdk_options
def command(
    model: str,
    calib: Path | None,
    encodings: Path | None,
    output: Path | None,
    soc: tuple[str, ...],
    spec_path: Path | None,
    **options: Any,
) -> None:
    """Quantize MODEL on real pictures and write it as a DLC.

    MODEL is a float .onnx file; a .pth or a model's name is exported in passing.

    Before calibration the channels are equalised: an exact rescaling after which 8 bits hold them
    all. Then biases are corrected. MODEL.equalized.onnx is that float graph; encodings belong to
    it.

    Without an SDK also writes the same graph as QDQ ONNX for onnxruntime (MODEL.quantized.onnx),
    and the encodings as JSON in the form that the vendor's --quantization_overrides reads
    (MODEL.quantized.encodings.json). Options marked "SDK" mean nothing there.
    """
    choice = chosen_sdk(options, QUANTIZER_NAMES)
    check_cost_options(options, sdk=choice is not None)
    destination = output or beside(model, ".quantized.dlc")
    if choice is None:
        if options["calibration"] == "sqnr":
            raise click.UsageError("--calibration sqnr: of the toolchain snpe, not embedded")
        _embedded(model, destination, calib, encodings, soc_names(soc), spec_path, options)
    elif options["context_binary"]:
        raise click.UsageError(
            "--context-binary is of the toolchain embedded; with an SDK, --soc alone puts the "
            "compiled graph into the DLC"
        )
    else:
        job = SdkJob(
            model=model,
            destination=destination,
            calib=calib,
            encodings=encodings,
            max_pictures=options["max_pictures"],
            choice=choice,
            spec_path=spec_path,
            equalization=recipe_of(
                options["preset"], equalization=options["equalize"]
            ).equalization,
        )
        intent = intent_of(soc_names(soc), encodings, options)
        if choice.dry_run:
            dry_run(job, intent, options["raw_files"])
        elif options["raw_files"]:
            raise click.UsageError("--raw-files goes with --dry-run; a real run removes its files")
        else:
            _check_files(model, destination, encodings)
            through_sdk(job, intent)


def _check_files(model: str, destination: Path, encodings: Path | None) -> None:
    """Raise InputError for files that cannot be used, before anything heavy is imported."""
    from persondet.models import resolve_model
    from persondet.sidecar import check_destination
    from quantize.encodings import read_encodings_record
    from runtime.backend import model_kind

    source = resolve_model(model)
    model_kind(source)
    check_destination(destination, ".dlc", inputs=[source])
    if encodings is not None:
        read_encodings_record(encodings)


def _embedded(
    model: str,
    destination: Path,
    calib: Path | None,
    encodings: Path | None,
    socs: tuple[str, ...],
    spec_path: Path | None,
    options: dict[str, Any],
) -> None:
    if (calib is None) == (encodings is None):
        raise click.UsageError(
            "give --calib DIR|LIST|VIDEO, or --encodings FILE of an earlier run; one of them"
        )
    if encodings and (given := typed_options(_OF_CALIBRATION)):
        raise click.UsageError(f"{', '.join(given)}: the encodings file says that already")
    from persondet.cli.dlc_output import context_soc, echo_dlc

    soc = context_soc(options["context_binary"], socs)
    _check_files(model, destination, encodings)
    cost = cost_reporter(model, spec_path, options)

    from quantize.calibration_set import calibration_set

    spec = given_spec(spec_path)
    chosen = calibration_set(calib, options["max_pictures"]) if calib else None

    from persondet.cli.progress import progress_bar
    from quantize.qdq import Scheme
    from quantize.quantizer import quantize
    from runtime.onnx_session import EXACT_SUMS_ENTRY

    recipe = recipe_of(
        options["preset"],
        equalization=options["equalize"],
        corrects_biases=options["correct_biases"],
        calibration=options["calibration"],
        rounding=options["rounding"],
    )
    with onnx_of(model, spec=spec) as onnx_path:
        result = quantize(
            onnx_path,
            destination,
            calibration=chosen,
            encodings=encodings,
            scheme=Scheme(int(options["act_bits"]), options["per_channel"]) if chosen else None,
            recipe=recipe,
            soc=soc,
            spec=spec,
            search=cost.search() if cost else None,
            progress=progress_bar,
        )
    if chosen:
        echo_calibration(chosen, recipe.calibration)
    if result.equalization:
        click.echo(equalization_line(result.equalization))
    if result.mix:
        click.echo("\n".join(mix_lines(result.mix)))
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    for name in result.widened:
        click.echo(f"note: the scale of {name} was widened so that its bias fits int32", err=True)
    echo_dlc(result.dlc)
    click.echo(f"{result.qdq}: the same graph for onnxruntime")
    key, value = EXACT_SUMS_ENTRY
    click.echo(
        f"  to open it without persondet on an x86 CPU, set the session option {key} to {value}: "
        "without VNNI its default integer sums saturate"
    )
    if result.equalized:
        click.echo(f"{result.equalized}: the float graph to which the encodings belong")
    click.echo(f"{result.encodings}: encodings for --quantization_overrides, or for --encodings")
    if cost:
        cost.say(result)


def equalization_line(found: "Equalized") -> str:
    """What equalisation did, for people."""
    gain = "" if found.gain_db is None else f", noise {found.gain_db:.1f} dB lower by the model"
    held = f", {found.held} channels held by a Clip" if found.held else ""
    return (
        f"equalised: {found.spaces} groups of channels{held}{gain}; the float graph differs by "
        f"{found.max_difference:.1g} of its largest output"
    )
