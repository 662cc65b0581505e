"""The half of `persondet quantize` that goes through an SDK."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persondet.cli.sdk_options import (
    SdkChoice,
    dry_run_input,
    echo_dry_run,
    echo_sdk_dlc,
    typed_options,
)
from persondet.terminal import shell_line
from persondet.wording import counted

if TYPE_CHECKING:
    from export.sdk.intent import QuantizeIntent
    from quantize.calibration_set import CalibrationSet
    from quantize.presets import Equalization

_QUANTIZER_OPTIONS = (
    click.option(
        "--weight-bits",
        type=click.Choice(["8", "16", "4"]),
        default="8",
        help="SDK: bits of weights",
    ),
    click.option(
        "--bias-bits",
        type=click.Choice(["8", "32"]),
        help="SDK: bits of biases. Default: its own, 8.",
    ),
    click.option(
        "--weight-scheme",
        type=click.Choice(["asymmetric", "symmetric", "unsignedsymmetric"]),
        default="asymmetric",
        help="SDK: how a weight's range lies about 0",
    ),
    click.option("--per-row", is_flag=True, help="SDK: fully connected weights: one scale a row"),
    click.option("--cle", is_flag=True, help="SDK: cross-layer equalisation"),
    click.option("--bias-correction", is_flag=True, help="SDK 1.x: correct biases afterwards"),
    click.option(
        "--float-fallback",
        is_flag=True,
        help="SDK: with --encodings and without --calib: what they leave out stays float.",
    ),
    click.option(
        "--enable-hta",
        is_flag=True,
        help="SDK 1.x: also prepare for the runtime AIP, which needs it.",
    ),
    click.option("--native-inputs", is_flag=True, help="SDK: calibration files in uint8"),
    click.option(
        "--raw-files",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="SDK, with --dry-run: write the calibration files and their list into DIR",
    ),
)
# each means nothing to the toolchain embedded
QUANTIZER_NAMES = (
    *("weight_bits", "bias_bits", "weight_scheme", "per_row", "cle", "bias_correction"),
    *("float_fallback", "enable_hta", "native_inputs", "raw_files", "optimization_level"),
)

# which are answered by given encodings where nothing is calibrated
_OF_CALIBRATION = ("calibration", "max_pictures", "native_inputs")


@dataclass(frozen=True, kw_only=True)
class SdkJob:
    """What the user named: MODEL, the quantized DLC, the calibration set, encodings, the spec."""

    model: str
    destination: Path
    calib: Path | None
    encodings: Path | None
    max_pictures: int
    choice: SdkChoice
    spec_path: Path | None = None
    equalization: "Equalization | None" = None


def quantizer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_QUANTIZER_OPTIONS):
        command = option(command)
    return command


def intent_of(
    socs: tuple[str, ...], encodings: Path | None, options: dict[str, Any]
) -> "QuantizeIntent":
    from export.sdk.intent import QuantizeIntent

    options = options | {"calibration": options["calibration"] or "minmax"}
    same = (
        *("per_channel", "per_row", "weight_scheme", "calibration", "cle", "bias_correction"),
        *("float_fallback", "native_inputs", "enable_hta", "optimization_level"),
    )
    return QuantizeIntent(
        act_bits=int(options["act_bits"]),
        weight_bits=int(options["weight_bits"]),
        bias_bits=int(options["bias_bits"]) if options["bias_bits"] else None,
        apply_overrides=encodings is not None,
        socs=socs,
        **{name: options[name] for name in same},
    )


def through_sdk(job: SdkJob, intent: "QuantizeIntent") -> None:
    """Quantize, and say what came of it."""
    from export.sdk.intent import ConvertIntent
    from persondet.cli.onnx_input import given_spec, onnx_of
    from persondet.cli.progress import progress_bar
    from quantize.calibration_set import calibration_set
    from quantize.presets import DEFAULT_RECIPE
    from quantize.sdk_quantizer import quantize_with_sdk

    check_calibration(job, intent)
    chosen = calibration_set(job.calib, job.max_pictures) if job.calib else None
    spec = given_spec(job.spec_path)
    with onnx_of(job.model, job.choice.opset, spec) as onnx_path:
        result = quantize_with_sdk(
            onnx_path,
            job.destination,
            toolchain=job.choice.toolchain(),
            calibration=chosen,
            converting=ConvertIntent(overrides=job.encodings),
            quantizing=intent,
            spec=spec,
            equalization=job.equalization or DEFAULT_RECIPE.equalization,
            progress=progress_bar,
        )
    if chosen:
        echo_calibration(chosen, intent.calibration)
    echo_sdk_dlc(result)


def check_calibration(job: SdkJob, intent: "QuantizeIntent") -> None:
    """Raise click.UsageError where images are missing, or given where nothing is calibrated."""
    if intent.float_fallback:
        given = ["--calib"] if job.calib else []
        given += typed_options(("raw_files", *_OF_CALIBRATION))
        if given:
            raise click.UsageError(
                f"{', '.join(given)}: --float-fallback calibrates nothing, the encodings say all"
            )
    elif job.calib is None and not job.choice.dry_run:
        raise click.UsageError("give --calib DIR|LIST|VIDEO: an SDK quantizes on pictures")


def dry_run(job: SdkJob, intent: "QuantizeIntent", raw_files: Path | None) -> None:
    """Print the shell lines; with raw_files write the calibration files that they read."""
    from export.sdk.command_lines import convert_plan, quantize_plan
    from export.sdk.intent import ConvertIntent, dlc_spec
    from export.sdk.raw_files import LIST_NAME, safe_name
    from quantize.calibration_set import calibration_set
    from quantize.sdk_quantizer import check_native, write_calibration

    source, converting = (
        dry_run_input(job.model, job.choice, job.spec_path),
        ConvertIntent(overrides=job.encodings),
    )
    check_calibration(job, intent)
    check_native(source.spec, intent)
    version, tools, output = job.choice.version, job.choice.tools, job.destination
    folder = raw_files or _raw_folder(output.with_name(f"{safe_name(output.stem)}.raw"))
    plain, listed = output.with_name(f"{output.stem}.float.dlc"), folder / LIST_NAME
    plans = [
        convert_plan(converting, source.spec, version, tools, onnx=source.onnx_path, dlc=plain),
        quantize_plan(
            *(intent, version, tools),
            dlc=plain,
            input_list=listed,
            output=output,
            outputs=tuple(source.spec.output_shapes),
        ),
    ]
    comments = []
    if raw_files is None and not intent.float_fallback:
        words = shell_line(("--dry-run", "--calib", "DIR", "--raw-files", str(folder)))
        comments = [f"the list and its files come from `persondet quantize ... {words}`"]
    elif raw_files is not None:
        if job.calib is None:
            raise click.UsageError("--raw-files needs --calib DIR|LIST|VIDEO")
        chosen = calibration_set(job.calib, job.max_pictures)
        spec = dlc_spec(source.spec, converting)
        write_calibration(chosen, spec, folder, native=intent.native_inputs)
    if intent.socs and tools.prepare is None and not intent.float_fallback:
        outputs = " and ".join(source.spec.output_shapes)
        comments.append(
            f"the cache is of the last output alone, unless the list begins with a line `#LAYER "
            f"LAYER` naming the DLC's layers of {outputs} (`persondet info` shows them)"
        )
    echo_dry_run(job.choice, source, plans, comments)


def _raw_folder(folder: Path) -> Path:
    """The folder, or one of its name in the temporary folder where a list cannot name its files."""
    blank = any(character.isspace() for character in str(folder.absolute()))
    return Path(tempfile.gettempdir(), folder.name) if blank else folder


def echo_calibration(chosen: "CalibrationSet", calibration: str) -> None:
    pictures = counted(len(chosen), "picture")
    click.echo(f"calibrated on {pictures} of {chosen.source} ({calibration})")
    if len(chosen) < 10:
        click.echo("note: fewer than 10 pictures; 50 to 100 of the real scene are usual", err=True)
