"""`persondet benchmark`."""

import json
from pathlib import Path
from typing import Any

import click

from persondet.cli.benchmark_device import benchmark_on_device, device_options, taken_options

RUNS, WARMUP = 100, 10
EMULATED_RUNS, EMULATED_WARMUP = 5, 1  # a frame takes seconds


@click.command()
@click.argument("model")
@click.option(
    "--image", type=click.Path(path_type=Path), required=True, help="Picture to measure on."
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    help=f"Default: {RUNS}; {EMULATED_RUNS} for a DLC where the chip is emulated; by an SDK: 20.",
)
@click.option(
    "--warmup",
    type=click.IntRange(min=0),
    help=f"Runs before those. Default: {WARMUP}; {EMULATED_WARMUP} where the chip is emulated; by "
    "an SDK: 2.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Of onnxruntime or PyTorch.")
@click.option(
    "--spec",
    "spec_path",
    type=click.Path(path_type=Path),
    help="Spec or sidecar for a DLC without its own.",
)
@device_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    model: str,
    image: Path,
    runs: int | None,
    warmup: int | None,
    threads: int | None,
    spec_path: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure MODEL's latency on one picture, stage by stage.

    The picture is in memory before the clock starts; one run is preprocess, infer, decode, nms, as
    `persondet detect` does them. MODEL is a .pth, .onnx or .dlc file, or a model's name.

    With --device: the latency of inference there, in many short runs, with what the device tells of
    its layers. MODEL is an .onnx or a .dlc. Options that begin with "SDK:" need an SDK here, and a
    .dlc.
    """
    on_device = taken_options(options)
    if on_device.device is not None:
        benchmark_on_device(
            *(model, image, runs, warmup, threads, spec_path, as_json), options=on_device
        )
        return
    from benchmarks import latency_report
    from benchmarks.latency import measure
    from persondet.cli.opening import load_libraries, open_model
    from persondet.cli.progress import progress_bar
    from persondet.images import read_image_rgb
    from runtime.detector import Detector

    image_rgb = read_image_rgb(image)
    emulated = load_libraries(model)
    if runs is None:
        runs = EMULATED_RUNS if emulated else RUNS
    if warmup is None:
        warmup = EMULATED_WARMUP if emulated else WARMUP
    with progress_bar("measuring", total=runs + warmup) as advance:
        latency = measure(
            lambda: Detector(open_model(model, spec_path, threads=threads)),
            image_rgb,
            runs,
            warmup,
            advance,
        )
    if as_json:
        record = latency_report.latency_json(latency, model, str(image))
        click.echo(json.dumps(record, allow_nan=False))
        return
    from benchmarks.tables import print_to_stdout

    print_to_stdout(latency_report.title_text(latency, model), "")
    print_to_stdout(latency_report.stages_table(latency), "")
    print_to_stdout(latency_report.summary_text(latency))
    for warning in latency_report.warnings(latency):
        print_to_stdout(f"warning: {warning}")
