"""compare and evaluate with --device, on this machine as the device."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from tiny_detector import outputs_with, save_onnx

from persondet.cli import cli
from persondet.errors import InputError, PersondetError

ANCHOR = (1 * 5 + 2) * 2 + 1  # 24 x 16 around (40, 24) in an input of 80 x 48
PERSON_BOX = [70, 100 / 3, 60, 100 / 3]  # that anchor in a picture of 200 x 100, xywh


@pytest.fixture(autouse=True)
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PERSONDET_DEVICE_FOLDER", raising=False)
    for name in ("SNPE_ROOT", "QNN_SDK_ROOT", "QAIRT_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "persondet" / "device"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_onnx(tmp_path / "a b;id'.onnx", outputs_with({ANCHOR: (0, 4, -9)}))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((100, 200, 3), 50 * number, np.uint8))
    return folder


def run(*words):
    result = CliRunner().invoke(cli, list(map(str, words)))
    if result.exception is not None:
        raise result.exception
    return result


def test_one_model_here_against_there(model, pictures, device, tmp_path) -> None:
    words = ["compare", model, "--images", pictures, "--device", "local"]
    record = json.loads(run(*words, "--json", "--out", tmp_path / "drawn").stdout)
    assert record["images"] == 3 and record["reference"] == str(model)
    (pair,) = record["pairs"]
    assert pair["model"] == f"{model} on local"
    assert len(list((tmp_path / "drawn").iterdir())) == 1
    left = list(device.rglob("*"))
    assert [path.name[:18] for path in left if path.is_file()] == ["persondet-runtime-"]


def test_the_reference_runs_here(model, pictures, tmp_path) -> None:
    other = save_onnx(tmp_path / "other.onnx", outputs_with({ANCHOR: (0, 3, -9)}))
    words = ["compare", model, other, "--images", pictures, "--device", "local"]
    with pytest.raises(PersondetError, match=r"scores\.max_abs"):
        run(*words, "--fail-above", "scores.max_abs=0.5")


@pytest.fixture
def data(pictures: Path, tmp_path: Path) -> Path:
    images = [
        {"id": n, "file_name": f"pictures/{n}.png", "width": 200, "height": 100} for n in range(3)
    ]
    boxes = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": PERSON_BOX, "iscrowd": 0, "area": 2000}
        for n in range(2)
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "head"}]
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return path


def test_evaluate_there_is_as_here(model, data) -> None:
    here = json.loads(run("evaluate", model, "--data", data, "--json", "--no-cache").stdout)
    first = run("evaluate", model, "--data", data, "--json", "--device", "local")
    there = json.loads(first.stdout)
    assert there.pop("device").startswith("local: CPU, onnxruntime")
    here.pop("device")
    assert there == here
    assert "came from another run" not in first.stderr
    again = run("evaluate", model, "--data", data, "--json", "--device", "local")
    assert "detections of 3 of 3 pictures came from another run" in again.stderr


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--device", "usb"], r"--device usb: expected adb, adb:SERIAL"),
        (["--device", "local", "--workers", "2"], r"--workers are processes on this machine"),
        (["--runtime", "cpu"], r"--runtime is of a device: name it by --device"),
        (["--device", "local", "--runtime", "cpu"], r"needs the SDK here: set SNPE_ROOT"),
    ],
)
def test_what_cannot_be(model, data, words, match) -> None:
    result = CliRunner().invoke(cli, ["evaluate", str(model), "--data", str(data), *words])
    error = result.exception
    assert result.exit_code == 2 or isinstance(error, InputError)
    assert re.search(match, f"{result.output} {error}")
