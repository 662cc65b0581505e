"""Results numbered as a COCO JSON numbers images and categories.

pycocotools takes them as they are, and finds the AP that `evaluate` prints.
"""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from evaluation_data import found_picture, truth_picture
from tiny_detector import outputs_with, save_onnx

from benchmarks.evaluation.coco_ap import MAX_DETECTIONS
from benchmarks.evaluation.evaluation import Evaluation, evaluate
from benchmarks.evaluation.truth import Truth
from persondet.cli import cli
from persondet.data.coco_numbering import read_coco_numbering
from persondet.errors import InputError
from persondet.images import write_image_rgb

pytest.importorskip("pycocotools")

# Anchors of tests/tiny_detector.py, stretched to 200 x 100 pixels.
PERSON_BOX, SMALL_BOX = [70, 100 / 3, 60, 100 / 3], [5, 0, 30, 37.5]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Finds a person in the middle of every image, another in its corner, and a head."""
    found = {15: (0.0, 4.0, -9.0), 0: (0.0, 2.0, -9.0), 20: (0.0, -9.0, 1.0)}
    return save_onnx(tmp_path / "tiny.onnx", outputs_with(found))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ids that are no class ids, text among them, two folders, boxes beyond the border."""
    record: dict[str, list[Any]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 70, "name": "Head"}, {"id": 30, "name": "person"}],
    }
    for number, name in enumerate(("a/7.png", "b/7.png", "b/8.png", "9.png")):
        write_image_rgb(tmp_path / "images" / name, np.zeros((100, 200, 3), np.uint8))
        record["images"].append(
            {"id": 500 - number, "file_name": name, "width": 200, "height": 100}
        )
        for shift, box, category in (
            (0, PERSON_BOX, 30),
            (-12, SMALL_BOX, 30),
            (3, PERSON_BOX, 70),
        ):
            x, y, width, height = box
            bbox = [x + shift * number, y, width, height]
            record["annotations"].append(
                {
                    "id": len(record["annotations"]) + 1,
                    "image_id": 500 - number,
                    "category_id": category,
                    "bbox": bbox,
                    "area": width * height,
                    "iscrowd": int(number == 3 and category == 30 and shift == 0),
                }
            )
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(record))
    return path


def run(*arguments: object, error: str | None = None) -> tuple[str, str]:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if error is None:
        assert result.exception is None, result.output
    else:
        assert isinstance(result.exception, InputError), result.output
        assert error in str(result.exception)
    return result.stdout, result.stderr


def pycocotools_stats(truth: Path, results: Path, category_id: int) -> np.ndarray:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO(str(truth))
        evaluation = COCOeval(annotations, annotations.loadRes(str(results)), "bbox")
        evaluation.params.catIds = [category_id]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("form", ["{data}", "coco:{data}:{images}"])
def test_pycocotools_finds_the_ap_that_evaluate_prints(
    model: Path, data: Path, tmp_path: Path, form: str
) -> None:
    images, results = tmp_path / "images", tmp_path / "results.json"
    given = form.format(data=data, images=images)
    root = [] if given.startswith("coco:") else ["--images-root", images]
    stdout, stderr = run("evaluate", model, "--data", given, *root, "--results", results, "--json")
    assert f"COCO results of 4 pictures: {results}" in stderr
    evaluated = json.loads(stdout)
    assert "partly outside the picture: taken as annotated" in evaluated["notes"][0]
    for name, category_id in (("person", 30), ("head", 70)):
        stats = pycocotools_stats(data, results, category_id)
        ours = evaluated["classes"][name]
        expected = [ours[key] for key in ("ap", "ap50", "ap75")]
        expected += [ours["ap_by_coco_size"][size] for size in ("small", "medium", "large")]
        np.testing.assert_allclose([-1 if v is None else v for v in expected], stats[:6], atol=1e-9)
    assert 0.1 < evaluated["classes"]["person"]["ap"] < 0.9


def test_detect_writes_what_evaluate_writes(model: Path, data: Path, tmp_path: Path) -> None:
    images, of_detect, of_evaluate = tmp_path / "images", tmp_path / "d.json", tmp_path / "e.json"
    options = ("--score-threshold", 0.01, "--coco", of_detect, "--coco-like", data)
    run("detect", model, images, *options)
    run("evaluate", model, "--data", data, "--images-root", images, "--results", of_evaluate)

    def entries(path: Path) -> list[str]:
        return sorted(json.dumps(entry, sort_keys=True) for entry in json.loads(path.read_text()))

    assert entries(of_detect) == entries(of_evaluate)
    found = json.loads(of_detect.read_text())
    assert {entry["image_id"] for entry in found} == {497, 498, 499, 500}
    assert {entry["category_id"] for entry in found} == {30, 70}


def test_what_the_json_does_not_list_is_left_out_with_a_note(
    model: Path, data: Path, tmp_path: Path
) -> None:
    record = json.loads(data.read_text())
    record["categories"] = record["categories"][1:]
    data.write_text(json.dumps({**record, "images": record["images"][:3], "annotations": []}))
    options = ("--coco", tmp_path / "r.json", "--coco-like", data)
    _, stderr = run("detect", model, tmp_path / "images", *options)
    assert f"note: {data} does not list 1 picture: left out of the results" in stderr
    assert f"note: {data} has no category head: left out of the results" in stderr
    found = json.loads((tmp_path / "r.json").read_text())
    assert {entry["category_id"] for entry in found} == {30}
    assert {entry["image_id"] for entry in found} == {498, 499, 500}


def test_numbers_that_cannot_be_given(model: Path, data: Path, tmp_path: Path) -> None:
    options = ("--coco", tmp_path / "r.json", "--coco-like", data)
    write_image_rgb(tmp_path / "other.png", np.zeros((10, 20, 3), np.uint8))
    run("detect", model, tmp_path / "other.png", *options, error="lists none of the 1 pictures")
    for folder in ("x", "y"):
        write_image_rgb(tmp_path / folder / "9.png", np.zeros((10, 20, 3), np.uint8))
    two = (tmp_path / "x", tmp_path / "y")
    run("detect", model, *two, *options, error="are both 9.png in")
    again = ("--coco", data, "--coco-like", data)
    run("detect", model, tmp_path / "images", *again, error="would be overwritten by its own")
    own = ("--images-root", tmp_path / "images", "--results", data)
    run("evaluate", model, "--data", data, *own, error="would be overwritten by its own result")
    result = CliRunner().invoke(cli, ["detect", str(model), ".", "--coco-like", str(data)])
    assert result.exit_code == 2 and "--coco-like numbers the results of --coco" in result.stderr
    record = json.loads(data.read_text())
    record["images"][1]["file_name"] = "a\\7.png"
    data.write_text(json.dumps(record))
    run("detect", model, tmp_path / "images", *options, error="have one file_name, a\\7.png")


def test_numbers_go_by_folders_and_name(data: Path, tmp_path: Path) -> None:
    numbering = read_coco_numbering(data)
    paths = [tmp_path / "images" / name for name in ("b/7.png", "c/7.png", "9.png", "a/7.png")]
    assert numbering.of_images(paths) == [499, None, 497, 500]
    assert numbering.of_classes(["background", "HEAD", "dog"]) == {1: 70}
    with pytest.raises(InputError, match=r"truth\.json has no category dog"):
        numbering.of_classes(["background", "dog"])


def test_results_of_a_format_without_numbers(model: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_text(
        "".join(f"{name}\n1\n70 33 60 33 0 0 0 0 0 0\n" for name in ("b/8.png", "9.png"))
    )
    given = f"wider:{tmp_path / 'gt.txt'}:{tmp_path / 'images'}:person"
    options = ("--classes", "person", "--results", tmp_path / "r.json")
    run("evaluate", model, "--data", given, *options)
    found = json.loads((tmp_path / "r.json").read_text())
    assert {(entry["image_id"], entry["category_id"]) for entry in found} == {(8, 1), (9, 1)}


def evaluated(boxes: int, detections: int, found_at: int) -> Evaluation:
    """An image of so many boxes; of the detections all but the one at found_at find nothing."""
    wanted = [(x, 0, x + 10, 10) for x in range(0, 12 * boxes, 12)]
    offered = [(0, 60, 10, 70)] * detections
    offered[found_at] = wanted[0]
    size_hw = (90, 12 * boxes)
    truth = Truth(
        "data", ("background", "person"), (1,), (truth_picture(wanted, size_hw=size_hw),), ("kept",)
    )
    found = found_picture(offered, np.linspace(0.9, 0.1, detections), size_hw=size_hw)
    return evaluate(truth, [found], (90, 160), 0.5, resamples=0)


def test_the_limit_of_detections_is_said_where_it_matters() -> None:
    beyond = evaluated(1, MAX_DETECTIONS + 1, MAX_DETECTIONS)
    (note,) = beyond.limit_notes
    assert note == (
        "person: AP, AP50 and AP75 count the 100 best detections per image, as COCO does: 1 image "
        "with more detections, 0 with more boxes to be found; counting all, AP50 is 0.010"
    )
    assert beyond.total.figures["ap50"].value == 0
    assert evaluated(1, MAX_DETECTIONS, MAX_DETECTIONS - 1).limit_notes == ()
    assert evaluated(1, MAX_DETECTIONS + 1, 0).limit_notes == ()  # the last finds nothing anyway
    (crowd,) = evaluated(MAX_DETECTIONS + 1, 1, 0).limit_notes
    assert "0 images with more detections, 1 with more boxes to be found" in crowd
    assert evaluated(MAX_DETECTIONS, 1, 0).limit_notes == ()
    assert beyond.data_notes == ("kept",)
