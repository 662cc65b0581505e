"""The demo, with one picture for its four: everything that it promises is there."""

import json
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from benchmarks import demo, demo_files
from persondet.cli.demo import command
from persondet.errors import InputError


def test_the_demo_shows_boxes_figures_and_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "PICTURES", demo.PICTURES[:1])
    out = tmp_path / "demo"
    result = CliRunner().invoke(command, ["--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    text = result.stdout
    assert "2,750,864" in text and "618,007,664" in text and "345.9 MiB" in text
    assert "ssdlite-mb2-person.quantized.dlc" in text and "SQNR dB" in text
    printed = [Path(line.strip()) for line in text.splitlines() if line.startswith("  /")]
    assert printed and all(path.exists() for path in printed)
    pictures = [path for path in printed if path.suffix == ".png"]
    grid = cv2.imread(str(pictures[0]))
    assert grid.shape[1] == 2 * 512 and grid.shape[0] >= 2 * 512
    for dlc in (path for path in printed if path.suffix == ".dlc"):
        assert json.loads(dlc.with_name(dlc.name + ".json").read_text())["step"]


def test_a_missing_package_is_named_with_its_remedy() -> None:
    source = demo_files.Source("x", "no_such_package", "data/x.png")
    demo_files._WHEELS["no_such_package"] = "pip install nothing"
    try:
        with pytest.raises(InputError, match="no_such_package, which is not installed: pip"):
            source.path()
    finally:
        del demo_files._WHEELS["no_such_package"]


def test_the_calibration_recipe_names_files_that_exist() -> None:
    sources = demo_files.recipe_sources()
    assert len(sources) >= 5
    assert all(source.path().exists() for source in sources)
