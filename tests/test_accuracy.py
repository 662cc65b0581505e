"""The pretrained person detector finds real persons, from the checkpoint to the figures."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from persondet.cli import cli


def test_the_pretrained_detector_reaches_its_published_accuracy_on_coco(
    ssdlite_onnx: Path, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = shared_data / "coco_person" / "test.json"
    arguments = [str(ssdlite_onnx), "--data", str(data), "--images-root", str(shared_data)]
    result = CliRunner().invoke(cli, ["evaluate", *arguments, "--json"], catch_exceptions=False)
    record = json.loads(result.stdout)
    assert (record["images"], record["boxes"], record["ignored_boxes"]) == (71, 241, 6)
    assert 0.43 <= record["ap50"] < 0.5
    assert record["ap50"] == pytest.approx(record["voc_ap50"], abs=0.01)
    low, high = record["ap50_interval"]
    assert low < record["ap50"] < high
    # What it was known to be before: large persons are found, those of a few pixels are not.
    by_size = [
        record["by_size"][name]["ap50"] for name in ("<10", "10-16", "16-32", "32-64", ">64")
    ]
    assert by_size == sorted(by_size)
    assert by_size[-1] > 0.85
