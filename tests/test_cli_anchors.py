"""`persondet anchors`, as a user types it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from data_files import write_picture

from persondet import zoo
from persondet.cli import cli
from persondet.cli.opening import read_spec
from persondet.errors import InputError


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """40 heads of 12 to 60 px at network scale in two pictures, and one box outside."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    rows = []
    for name in ("one.jpg", "two.jpg"):
        write_picture(tmp_path / "images" / name, (150, 600))
        sizes = [(int(2 * side), int(0.7 * side)) for side in rng.integers(12, 60, 20)]
        at = [(rng.integers(0, 600 - w), rng.integers(0, 150 - h)) for w, h in sizes]
        boxes = [f"{x} {y} {w} {h} 0 0 0 0 0 0" for (x, y), (w, h) in zip(at, sizes, strict=True)]
        rows += [name, str(len(boxes) + 1), *boxes, "700 10 20 20 0 0 0 0 0 0"]
    (tmp_path / "wider.txt").write_text("\n".join(rows))
    return "wider:wider.txt:images"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["anchors", *arguments], catch_exceptions=True)


def test_tables_spec_and_picture(data: str, tmp_path: Path) -> None:
    result = _run(data, "--model", "f38", "--out", "spec.json", "--plot", "plot.png")
    assert result.exit_code == 0, result.output
    for words in ("height / width", "k-means on IoU", "10-16", "Proposed: ", "19 x 19"):
        assert words in result.stdout
    assert "wider.txt: 2 pictures, 0 without boxes; boxes: 40 head" in result.stderr
    assert "2 x box outside the picture: dropped (first: one.jpg)" in result.stderr
    spec = read_spec(tmp_path / "spec.json")
    own = zoo.detector_spec(zoo.F38)
    assert spec.output_shapes == own.output_shapes and spec.levels != own.levels
    sidecar = json.loads((tmp_path / "spec.json.json").read_text())
    assert sidecar["step"] == "anchors" and sidecar["details"]["data"] == [data]
    picture = cv2.imread(str(tmp_path / "plot.png"))
    assert picture.shape[0] > 500 and picture.std() > 10


def test_json_alone_on_standard_output(data: str) -> None:
    result = _run(data, data, "--model", zoo.F38, "--json", "--form", "ratio", "--min-side", "16")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["boxes"] == 80 and record["images"] == 4
    assert record["dropped"] == {"box outside the picture: dropped": 4}
    assert record["form"] == "ratio"
    assert set(record["recall"]["model"]) == {"<10", "10-16", "16-32", "32-64", ">64", "all"}
    row = record["recall"]["proposed"]["all"]
    assert row["boxes"] == 80 and row["recall_0.35"] >= row["recall_0.5"]
    assert record["recall"]["model"][">64"]["mean_iou"] is None or record["boxes"]
    # A picture of 150 x 600 stretched to 300 x 300: height / width grows fourfold.
    assert record["statistics"]["height / width"]["p50"] == pytest.approx(1.4, abs=0.1)
    assert len(record["clusters"]["sizes_wh_px"]) == 8


def test_the_proposal_is_a_model_for_the_next_run(data: str) -> None:
    assert _run(data, "--model", "f38", "--form", "levels", "--out", "a.json").exit_code == 0
    result = _run(data, "--model", "a.json", "--json")
    record = json.loads(result.stdout)
    assert record["mean_iou_of_forms"]["own"] == record["recall"]["model"]["all"]["mean_iou"]


def test_few_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_picture(tmp_path / "one.jpg", (48, 80))
    (tmp_path / "one.idl").write_text('"one.jpg": (1, 2, 9, 12).')
    result = _run("brainwash:one.idl:.", "--model", "f38")
    assert result.exit_code == 0, result.output
    assert "k-means" not in result.stdout
    result = _run("brainwash:one.idl:.", "--model", "f38", "--form", "clusters")
    assert isinstance(result.exception, InputError)
    assert "8 clusters need at least as many boxes" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "f39"],
            "f39 is not a file, and no network either: unknown network 'f39'; did",
        ),
        (["--model", "f38-person"], "has none of the classes person; it has head"),
        (["--model", "f38", "--classes", "cat"], "has none of the classes cat; it has head"),
        (["--model", "f19", "--classes", "head", "--form", "ratio"], "fixed anchor shapes"),
        (["--model", "f38", "--min-side", "500"], "no box with a side of at least 500 px"),
        (["--model", "f38", "--out", "spec.txt"], "name must end in .json"),
        (["--model", "f38", "--plot", "plot.jpg"], "expected a name in .png, .svg or .pdf"),
        (["--model", "f38", "--plot", "wider.txt/plot.png"], "is not a folder"),
        (["--model", "wider.txt"], "has no sidecar that says its anchors"),
        (["--model", "f38", "yolo:a:b"], "expected a format of coco"),
    ],
)
def test_mistakes(data: str, arguments: list[str], message: str) -> None:
    result = _run(data, *arguments)
    assert isinstance(result.exception, InputError), result.output
    assert message in str(result.exception)


def test_the_short_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FILE.json with --images-root is coco:FILE.json:ROOT."""
    monkeypatch.chdir(tmp_path)
    write_picture(tmp_path / "images" / "one.jpg", (150, 600))
    box = {"image_id": 1, "category_id": 1, "bbox": [10, 20, 60, 70]}
    record = {
        "images": [{"id": 1, "file_name": "one.jpg"}],
        "annotations": [box],
        "categories": [{"id": 1, "name": "head"}],
    }
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "t.json").write_text(json.dumps(record))
    long = _run("coco:set/t.json:images", "--model", "f38", "--json")
    short = _run("set/t.json", "--images-root", "images", "--model", "f38", "--json")
    assert short.exit_code == 0, short.output
    assert short.stdout == long.stdout
    assert json.loads(short.stdout)["boxes"] == 1
    result = _run("coco:set/t.json:images", "--images-root", "images", "--model", "f38")
    assert "says itself where the pictures are" in str(result.exception)


def test_classes_of_the_data_go_into_the_spec(data: str, tmp_path: Path) -> None:
    result = _run(f"{data}:face", "--model", "f19", "--classes", "face", "--out", "f.json")
    assert result.exit_code == 0, result.output
    assert read_spec(tmp_path / "f.json").class_names == ("background", "face")
