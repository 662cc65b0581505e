"""`persondet demo`."""

import time
from pathlib import Path

import click


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="folder for everything that the demo makes",
)
def command(out: Path) -> None:
    """Run the whole chain on real pictures: .pth, ONNX, DLC, quantized DLC, boxes.

    The models: the shipped head and person, and the pretrained ssdlite-mb2-person. The DLC files
    are executed by Qualcomm's own libraries, which on x86-64 emulate the Hexagon processor: the
    numbers are the chip's, the times are not.
    """
    from benchmarks import compare_report, demo, demo_report
    from benchmarks.tables import print_to_stdout
    from persondet.cli.progress import progress_bar
    from persondet.models import resolve_model

    started = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"[{time.monotonic() - started:5.1f} s] {text}", err=True)

    say("taking pictures out of installed packages")
    pictures = demo.demo_pictures(out / "pictures")
    calibration = out / "calibration"
    demo.demo_calibration(calibration)
    made, comparisons, drawn = [], [], []
    for name in demo.demo_models():
        checkpoint = resolve_model(name)
        artefacts = demo.make_artefacts(name, checkpoint, out / name, calibration, say)
        say(f"{name}: running onnxruntime and three DLC files on {len(pictures)} pictures")
        with progress_bar("running", total=len(pictures)) as advance:
            comparison, boxes = demo.compare_and_draw(artefacts, pictures, out / "boxes", advance)
        made.append(artefacts)
        comparisons.append(comparison)
        drawn += boxes
    infos = demo.figures(made)

    print_to_stdout("Figures", "", demo_report.figures_table(infos))
    for comparison in comparisons:
        print_to_stdout("", compare_report.title_text(comparison))
        print_to_stdout("", compare_report.outputs_table(comparison))
        print_to_stdout("", compare_report.detections_table(comparison))
        print_to_stdout(compare_report.explanation_text(comparison))
    print_to_stdout("", "DLC files")
    print_to_stdout(*(f"  {path}" for item in made for path in item.files() if _is_dlc(path)))
    print_to_stdout("", "Boxes drawn: onnxruntime, DLC, quantized DLC, quantized per channel")
    print_to_stdout(*(f"  {path}" for path in drawn))
    say("done; times here are an emulation's, not the chip's")


def _is_dlc(path: Path) -> bool:
    return path.suffix == ".dlc"
