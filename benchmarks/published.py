"""Make every published table of weights and of eight bits anew, by the commands that print them.

`python -m benchmarks.published DATA [FOLDER]` (`make figures DATA=...`): DATA holds scut_head_b/,
coco_person/ and voc_person/, each with train.json, val.json or test.json (COCO) and the images that
these name; FOLDER gets a text per table, and the models. What is there already is left alone, so
that an interrupted run goes on; remove FOLDER after the weights have changed.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from export.process import run_process
from persondet.terminal import shell_line

PRESETS = ("snpe", "fast", "accurate", "best")
LONGEST_S = 4 * 3600  # of one command
CONFIRMED = 60  # images of a test set on the emulated HTP


@dataclass(frozen=True, kw_only=True)
class Published:
    """One model and its sets: calibration, where choices are made, and what is reported."""

    model: str
    calibration: str
    validation: str
    test: str


MODELS = (
    Published(
        model="head",
        calibration="scut_head_b/train.json",
        validation="scut_head_b/val.json",
        test="scut_head_b/test.json",
    ),
    Published(
        model="person",
        calibration="coco_person/train.json",
        validation="voc_person/val.json",
        test="coco_person/test.json",
    ),
    Published(
        model="ssdlite-mb2-person",
        calibration="coco_person/train.json",
        validation="voc_person/val.json",
        test="coco_person/test.json",
    ),
)


def commands(published: Published, data: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield names of texts and the words after `persondet` that print them, in order."""
    name = published.model
    onnx = f"{name}.onnx"
    yield f"{name}.export", ["export", name, "--input", "uint8-nhwc", "-o", onnx]
    quantized = []
    for preset in PRESETS:
        for scheme, options in (("pt", []), ("pc", ["--per-channel"])):
            stem = f"{name}.{preset}.{scheme}"
            calibration = ["--calib", f"coco:{data / published.calibration}:{data}"]
            words = ["quantize", onnx, *calibration, "--preset", preset, *options]
            yield f"{stem}.quantize", [*words, "-o", f"{stem}.dlc"]
            quantized.append(f"{stem}.quantized.onnx")
    images = ["--images-root", str(data)]
    for split, annotations in (("val", published.validation), ("test", published.test)):
        given = ["--data", str(data / annotations), *images]
        yield f"{name}.{split}", ["evaluate", onnx, *quantized, *given]
    given = ["--data", str(data / published.test), *images, "--confirm", str(CONFIRMED)]
    for preset in ("accurate", "best"):
        words = ["evaluate", f"{name}.{preset}.pt.dlc", "--proxy", *given]
        yield f"{name}.{preset}.htp", words


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit("give the folder of the data sets, and a folder for the texts (figures-output)")
    data = Path(sys.argv[1]).resolve()
    folder = Path(*sys.argv[2:3] or ["figures-output"])
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [pair for published in MODELS for pair in commands(published, data)]
    for index, (name, words) in enumerate(wanted, start=1):
        print(f"[{index}/{len(wanted)}] {folder / name}.txt", flush=True)
        _make(folder, name, words)


def _make(folder: Path, name: str, words: list[str]) -> None:
    """Write what the command prints to NAME.txt, after the command itself."""
    text = folder / f"{name}.txt"
    if text.exists():
        return
    line = shell_line(("persondet", *words))
    command = [sys.executable, "-m", "persondet.cli", *words]
    done = run_process(command, what=line, timeout_s=LONGEST_S, cwd=folder)
    if done.code:
        sys.exit(f"{line} failed:\n{done.stderr}")
    unfinished = folder / f"{name}.part"
    unfinished.write_text(f"{line}\n\n{done.stdout}", encoding="utf-8")
    unfinished.replace(text)


if __name__ == "__main__":
    main()
