"""The half of `persondet benchmark` that measures on a device, and its options."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persondet.cli.device import RUNTIMES

if TYPE_CHECKING:
    from benchmarks.baseline import Baseline, Verdict
    from benchmarks.device_benchmark import Request
    from benchmarks.device_report import DeviceBenchmark

_SLOWEST_LAYERS = 10


@dataclass(frozen=True)
class DeviceOptions:
    """As typed; `device` is None where the model is to run here, in this process."""

    device: str | None
    runtimes: str | None
    perf_profiles: str | None
    tool: str
    frames: int
    cpu_fallback: bool
    layers: int
    csv: Path | None
    baseline: Path | None
    max_regression: float


_NAMES = tuple(DeviceOptions.__dataclass_fields__)
_OF_SDK = ("tool", "frames", "cpu_fallback")
_OPTIONS = (
    click.option(
        "--device",
        metavar="DEVICE",
        help="Measure there: adb, adb:SERIAL, ssh:USER@HOST[:PORT], or local.",
    ),
    click.option(
        "--runtimes",
        metavar="A,B",
        help=f"By the SDK's tools on the device, on these: {', '.join(RUNTIMES)}. Default: our own "
        "runtime under the device's Python; with adb: dsp.",
    ),
    click.option(
        "--perf-profiles",
        metavar="A,B",
        help="SDK: each runtime with each of these: burst, balanced, high_performance ... Default: "
        "balanced.",
    ),
    click.option(
        "--tool",
        type=click.Choice(["net-run", "throughput"]),
        default="net-run",
        show_default=True,
        help="SDK: snpe-net-run times layers; snpe-throughput-net-run needs no diagnostic log.",
    ),
    click.option(
        "--frames",
        type=click.IntRange(min=1),
        default=10,
        show_default=True,
        help="SDK: frames in a run of snpe-net-run, which gives their average.",
    ),
    click.option(
        "--cpu-fallback", is_flag=True, help="SDK: let the CPU run the layers that a runtime lacks."
    ),
    click.option(
        "--layers",
        type=click.IntRange(min=0),
        default=_SLOWEST_LAYERS,
        show_default=True,
        help="Show this many of the slowest layers.",
    ),
    click.option(
        "--csv", type=click.Path(path_type=Path), metavar="FILE", help="Write a CSV, too."
    ),
    click.option(
        "--baseline",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="What an earlier run with --device and --json printed: exit with 1 where a median has "
        "grown by more than is allowed, and by more than noise.",
    ),
    click.option(
        "--max-regression",
        type=click.FloatRange(min=0),
        default=10.0,
        show_default=True,
        metavar="PERCENT",
        help="How much a median may grow against the baseline.",
    ),
)


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; `taken_options` makes a DeviceOptions of what arrives."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def taken_options(options: dict[str, Any]) -> DeviceOptions:
    """Raises click.UsageError for options of a device without --device, and for empty lists."""
    from persondet.cli.sdk_options import typed_options

    if options["device"] is None and (typed := typed_options(_NAMES)):
        raise click.UsageError(
            f"{', '.join(typed)}: of a device: name it by --device; this computer is `local`"
        )
    taken = DeviceOptions(**options)
    for name, text in (("runtimes", taken.runtimes), ("perf-profiles", taken.perf_profiles)):
        if text is not None and not _words(text):
            raise click.UsageError(f"--{name} {text!r}: expected at least one")
    return taken


def benchmark_on_device(
    model: str,
    image: Path,
    runs: int | None,
    warmup: int | None,
    threads: int | None,
    spec_path: Path | None,
    as_json: bool,
    options: DeviceOptions,
) -> None:
    """Measure, show, and raise PersondetError for a regression, a setting that failed, or what
    stopped the benchmark in the middle."""
    from benchmarks.baseline import check_settings_in, compare_with_baseline, read_baseline
    from benchmarks.device_benchmark import benchmark_device
    from benchmarks.devices.transport import open_transport
    from persondet.cli.progress import progress_bar
    from persondet.cli.sdk_options import typed_options
    from persondet.sidecar import check_destination

    baseline = None if options.baseline is None else read_baseline(options.baseline)
    request = _request(model, image, runs, warmup, threads, spec_path, options)
    if options.csv is not None:
        check_destination(options.csv, ".csv", inputs=[request.model, image])
    assert options.device is not None
    typed = typed_options(_OF_SDK)
    if typed and not request.is_by_sdk(options.device):
        raise click.UsageError(f"{', '.join(typed)}: of the SDK's tools: name --runtimes, too")
    if baseline is not None:
        check_settings_in(baseline, request.settings(options.device))
    with open_transport(options.device) as transport, progress_bar("measuring") as advance:
        found = benchmark_device(transport, request, advance)
    verdicts: tuple[Verdict, ...] = ()
    if baseline is not None:
        limit = options.max_regression / 100
        verdicts = compare_with_baseline(baseline, found.latencies, limit)
    _show(found, options.layers, baseline, verdicts, as_json)
    _write_csv(found, options.csv)
    _raise_problems(found, verdicts)


def _request(
    model: str,
    image: Path,
    runs: int | None,
    warmup: int | None,
    threads: int | None,
    spec_path: Path | None,
    options: DeviceOptions,
) -> "Request":
    from benchmarks.device_benchmark import Request
    from persondet.cli.opening import spec_of_model
    from persondet.images import read_image_rgb
    from persondet.models import resolve_model
    from persondet.preprocess import preprocess

    spec = spec_of_model(model, spec_path)
    return Request(
        model=resolve_model(model),
        spec=spec,
        tensor=preprocess(read_image_rgb(image), spec),
        runtimes=_words(options.runtimes),
        perf_profiles=_words(options.perf_profiles),
        tool=options.tool,
        runs=runs,
        warmup=warmup,
        frames=options.frames,
        threads=threads,
        cpu_fallback=options.cpu_fallback,
    )


def _raise_problems(found: "DeviceBenchmark", verdicts: "tuple[Verdict, ...]") -> None:
    from benchmarks.device_benchmark import failure_text
    from persondet.errors import PersondetError

    if isinstance(found.stopped, KeyboardInterrupt):
        raise found.stopped
    problems = [] if found.stopped is None else [str(found.stopped)]
    problems += [verdict.text for verdict in verdicts if verdict.failed]
    if found.failures:
        problems.append("not every setting could be measured:\n" + failure_text(found.failures))
    if problems:
        kind = PersondetError if found.stopped is None else type(found.stopped)
        raise kind("\n".join(problems))


def _words(text: str | None) -> tuple[str, ...]:
    """`a,b` to ("a", "b"), each once."""
    words = (word.strip() for word in (text or "").split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def _write_csv(found: "DeviceBenchmark", path: Path | None) -> None:
    from benchmarks.device_report import benchmark_csv
    from persondet.sidecar import replacing

    if path is not None:
        with replacing(path) as temporary:
            temporary.write_text(benchmark_csv(found), encoding="utf-8")


def _show(
    found: "DeviceBenchmark",
    slowest: int,
    baseline: "Baseline | None",
    verdicts: "tuple[Verdict, ...]",
    as_json: bool,
) -> None:
    from benchmarks import device_report
    from benchmarks.baseline import baseline_notes

    notes: list[str] = []
    if baseline is not None:
        settings = [latency.setting for latency in found.latencies]
        sha256 = found.model_sha256
        notes = baseline_notes(baseline, sha256, found.device, found.toolchain, settings)
    if as_json:
        record = device_report.benchmark_json(found, verdicts, notes)
        click.echo(json.dumps(record, allow_nan=False))
        return
    from benchmarks.tables import print_to_stdout

    print_to_stdout(device_report.title_text(found), "", device_report.settings_table(found))
    for latency in found.latencies:
        for table in device_report.layer_tables(latency, slowest) if slowest else ():
            print_to_stdout("", table)
        if latency.unaccounted is not None:
            lines = device_report.unaccounted_lines(latency.setting.label, latency.unaccounted)
            print_to_stdout("", *lines)
    texts = [f"warning: {text}" for text in (*found.warnings, *notes)]
    texts += [f"baseline: {verdict.text}" for verdict in verdicts]
    if texts:
        print_to_stdout("", *texts)
