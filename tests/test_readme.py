"""What the README says can be typed, typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.demo_files import Source, write_pictures
from persondet.cli import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _commands() -> list[list[str]]:
    block = re.search(r"<!-- run by tests/test_readme.py -->\n```sh\n(.*?)```", README, re.S)
    assert block, "the README's marked block of commands is gone"
    return [shlex.split(line) for line in block[1].splitlines() if line.strip()]


def test_the_chain_of_the_readme_runs_as_written(tmp_path: Path) -> None:
    pictures = [Source("astronaut", "skimage", "data/astronaut.png")]
    write_pictures(
        [*pictures, Source("camera", "skimage", "data/camera.png")], tmp_path / "pictures"
    )
    initial = shlex.split(re.search(r"`(persondet init [^`]*)`", README)[1])  # type: ignore[index]
    for command in [initial, *_commands()]:
        assert command[0] == "persondet"
        argv = [sys.executable, "-m", "persondet.cli", *command[1:]]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    made = {path.name for path in tmp_path.iterdir()}
    assert {"head.pth", "head.onnx", "head.dlc", "head.quantized.dlc", "boxes"} <= made
    assert {"head.onnx.json", "head.dlc.json", "head.quantized.dlc.json"} <= made
    assert len(list((tmp_path / "boxes").iterdir())) == 2


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
