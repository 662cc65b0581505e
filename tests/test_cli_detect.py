"""`persondet detect` as a user and as a script calls it."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from tiny_detector import SPEC, outputs_with, save_onnx

from persondet.cli import cli
from persondet.errors import InputError
from persondet.images import read_image_rgb
from persondet.spec import spec_to_json

ANCHOR = (1 * 5 + 2) * 2 + 1  # 24 x 16 around (40, 24) in an input of 80 x 48


@pytest.fixture
def model(tmp_path):
    return save_onnx(tmp_path / "tiny.onnx", outputs_with({ANCHOR: (0, 0, 9), 0: (0, 1, -9)}))


@pytest.fixture
def pictures(tmp_path):
    """Three pictures of different sizes, in a folder and one below it."""
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    for name, size_hw in (("7.png", (100, 200)), ("8.jpg", (48, 80)), ("sub/7.png", (30, 20))):
        cv2.imwrite(str(folder / name), np.full((*size_hw, 3), 90, np.uint8))
    return folder


def detect(*arguments, error=None):
    """Run the command; (standard output, standard error)."""
    result = CliRunner().invoke(cli, ["detect", *map(str, arguments)])
    if error is None:
        assert result.exception is None, result.output
    else:
        assert isinstance(result.exception, InputError)
        assert error in str(result.exception)
    return result.stdout, result.stderr


def test_json_lines(model, pictures):
    stdout, stderr = detect(model, pictures, "--json")
    records = [json.loads(line) for line in stdout.splitlines()]
    expected = [str(pictures / name) for name in ("7.png", "8.jpg", "sub/7.png")]
    assert [record["path"] for record in records] == expected
    assert [(record["width"], record["height"]) for record in records] == [
        (200, 100),
        (80, 48),
        (20, 30),
    ]
    head, person = records[0]["detections"]
    np.testing.assert_allclose(head["box_xyxy"], [70, 100 / 3, 130, 200 / 3], rtol=1e-6)
    assert (head["class_id"], head["class_name"]) == (2, "head")
    assert head["score"] > person["score"] > 0.5
    assert stderr == ""


def test_thresholds_classes_and_top_k(model, pictures):
    picture = pictures / "7.png"

    def count(*options):
        return len(json.loads(detect(model, picture, "--json", *options)[0])["detections"])

    assert count() == 2
    assert count("--score-threshold", "0.9") == 1
    assert count("--score-threshold", "0.0", "--nms-iou", "1.0") == 2 * SPEC.num_anchors
    assert count("--score-threshold", "0.0", "--nms-iou", "1.0", "--top-k", "5") == 5
    assert count("--classes", "person") == 1
    assert count("--classes", "person, head") == 2
    detect(model, picture, "--score-threshold", "1.01", error="score threshold: expected a number")
    detect(model, picture, "--nms-iou", "-1", error="NMS IoU: expected a number")
    detect(model, picture, "--top-k", "0", error="top-k: expected at least 1")
    detect(model, picture, "--classes", "dog", error="no class dog")


def test_lines_for_people_and_drawn_pictures(model, pictures, tmp_path):
    out = tmp_path / "drawn"
    stdout, _ = detect(model, pictures, "--out", out)
    lines = stdout.splitlines()
    assert lines[0] == f"{pictures / '7.png'}: 1 head, 1 person, best 1.00 -> {out / '7.png'}"
    assert sorted(path.name for path in out.iterdir()) == ["7-2.png", "7.png", "8.jpg"]
    drawn = read_image_rgb(out / "7.png")
    assert drawn.shape == (100, 200, 3)
    assert (drawn != 90).any()
    assert (read_image_rgb(pictures / "7.png") == 90).all()


def test_drawings_of_an_earlier_run_are_not_looked_at(model, pictures):
    for _ in range(2):
        stdout, _ = detect(model, pictures, "--out", pictures / "drawn")
        assert len(stdout.splitlines()) == 3
    assert len(list((pictures / "drawn").iterdir())) == 3


def test_pictures_are_never_overwritten(model, pictures, tmp_path):
    picture = pictures / "7.png"
    detect(model, picture, "--out", pictures, error="would overwrite the picture")
    detect(model, pictures, "--out", pictures, error="holds the pictures themselves")
    link = tmp_path / "link"
    link.symlink_to(pictures)
    detect(model, picture, "--out", link, error="would overwrite the picture")
    assert (read_image_rgb(picture) == 90).all()


def test_the_original_projects_spellings(model, pictures):
    expected = detect(model, pictures, "--json")
    assert detect("--net_type", model, "--test_path", pictures, "--json") == expected
    assert detect("--net_type", model, pictures, "--json") == expected
    assert detect(model, "--test_path", pictures, "--json") == expected


def test_an_unreadable_picture_does_not_stop_the_others(model, pictures):
    (pictures / "77.png").write_bytes(b"no picture")
    stdout, stderr = detect(
        model, pictures, "--json", error="1 of 4 pictures could not be read; see above"
    )
    assert len(stdout.splitlines()) == 3
    assert f"cannot read the picture {pictures / '77.png'}" in stderr


def test_coco_results(model, pictures, tmp_path):
    results = tmp_path / "results.json"
    stdout, stderr = detect(model, pictures / "7.png", pictures / "8.jpg", "--coco", results)
    found = json.loads(results.read_text())
    assert [entry["image_id"] for entry in found] == [7, 7, 8, 8]
    assert found[0]["bbox"] == pytest.approx([70, 100 / 3, 60, 100 / 3], abs=1e-3)
    assert len(stdout.splitlines()) == 2
    assert f"COCO results of 2 pictures: {results}" in stderr
    detect(model, pictures, "--coco", results)  # 7.png twice: numbered from 1 instead
    assert {entry["image_id"] for entry in json.loads(results.read_text())} == {1, 2, 3}


def test_results_never_replace_what_they_are_made_from(model, pictures, tmp_path):
    (tmp_path / "model.json").symlink_to(model)
    (tmp_path / "picture.json").symlink_to(pictures / "8.jpg")
    (tmp_path / "spec.json").write_text(spec_to_json(SPEC))
    for name in ("model.json", "picture.json", "spec.json"):
        options = ("--spec", tmp_path / "spec.json", "--coco", tmp_path / name)
        detect(model, pictures, *options, error="would be overwritten by its own result")
    detect(model, pictures, "--coco", model, error="name must end in .json")
    stdout, _ = detect(model, pictures, "--coco", model / "x.json", error="is not a folder")
    assert stdout == ""  # before any work
    detect(model, pictures, "--out", model / "sub", error="is not a folder")
    detect(model, pictures, "--coco", tmp_path / f"{'x' * 300}.json", error="File name too long")


def test_a_spec_for_a_model_that_lost_its_own(pictures, tmp_path):
    bare = save_onnx(tmp_path / "bare.onnx", outputs_with({ANCHOR: (0, 0, 9)}), metadata=False)
    detect(bare, pictures, error="give --spec FILE")
    (tmp_path / "spec.json").write_text(spec_to_json(SPEC))
    stdout, _ = detect(bare, pictures, "--spec", tmp_path / "spec.json")
    assert len(stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected MODEL PATHS..."),
        (["a.onnx"], "expected pictures or folders of pictures after the model a.onnx"),
        (["--net_type", "a.onnx"], "after the model a.onnx"),
    ],
)
def test_too_few_arguments(arguments, message):
    result = CliRunner().invoke(cli, ["detect", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_missing_files_are_named(model, pictures, tmp_path):
    detect(model, tmp_path / "none", error="no such picture or folder")
    (tmp_path / "empty").mkdir()
    detect(model, tmp_path / "empty", error="no pictures in the folder")
    detect(tmp_path / "none.onnx", pictures, error="none.onnx")
