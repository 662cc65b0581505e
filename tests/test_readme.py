"""What the README says can be typed, typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.demo_files import Source, write_pictures
from persondet.cli import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _commands(mark: str) -> list[list[str]]:
    """The lines of the README's block of commands below this mark."""
    block = re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", README, re.S)
    assert block, f"the README's block of commands marked {mark!r} is gone"
    whole_lines = block[1].replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in whole_lines if line.strip()]


def _run(commands: list[list[str]], folder: Path) -> list[str]:
    """Type them; what each printed."""
    printed = []
    for command in commands:
        assert command[0] == "persondet"
        argv = [sys.executable, "-m", "persondet.cli", *command[1:]]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    return printed


def test_the_chain_of_the_readme_runs_as_written(tmp_path: Path) -> None:
    pictures = [Source("astronaut", "skimage", "data/astronaut.png")]
    write_pictures(
        [*pictures, Source("camera", "skimage", "data/camera.png")], tmp_path / "pictures"
    )
    initial = shlex.split(re.search(r"`(persondet init [^`]*)`", README)[1])  # type: ignore[index]
    _run([initial, *_commands("run by tests/test_readme.py")], tmp_path)
    made = {path.name for path in tmp_path.iterdir()}
    assert {"head.pth", "head.onnx", "head.dlc", "head.quantized.dlc", "boxes"} <= made
    assert {"head.onnx.json", "head.dlc.json", "head.quantized.dlc.json"} <= made
    assert len(list((tmp_path / "boxes").iterdir())) == 2


def test_training_on_twenty_annotated_pictures_works_as_written(tmp_path: Path) -> None:
    """Pictures that are not square, of two heads each, annotated as labelImg does it."""
    for name in ("annotations", "pictures"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for index in range(20):
        picture = rng.integers(0, 80, (200, 320, 3)).astype(np.uint8)
        objects = ""
        for left in (30, 190):
            x, y = left + int(rng.integers(0, 40)), int(rng.integers(5, 110))
            cv2.ellipse(picture, (x + 25, y + 35), (25, 35), 0, 0, 360, (200, 160, 140), -1)
            box = f"<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + 50}</xmax><ymax>{y + 70}</ymax>"
            objects += f"<object><name>head</name><bndbox>{box}</bndbox></object>"
        cv2.imwrite(str(tmp_path / "pictures" / f"{index:02}.jpg"), picture)
        size = "<size><width>320</width><height>200</height><depth>3</depth></size>"
        xml = f"<annotation><filename>{index:02}.jpg</filename>{size}{objects}</annotation>"
        (tmp_path / "annotations" / f"{index:02}.xml").write_text(xml)
    *_, trained, evaluated, exported = _run(_commands("trained by tests/test_readme.py"), tmp_path)
    assert "run/best.pth: AP50" in trained
    assert "AP50" in evaluated
    assert (tmp_path / "run" / "curves.png").exists()
    assert (tmp_path / "mine.onnx").exists(), exported


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


def test_the_make_commands_of_the_readme_exist() -> None:
    targets = re.findall(r"^    make (\w+)", README, re.M)
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M)


def test_links_and_pictures_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
