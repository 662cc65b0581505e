"""`persondet evaluate` as a user and as a script calls it."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from tiny_detector import SPEC, outputs_with, save_onnx

from persondet.cli import cli
from persondet.errors import InputError

ANCHOR = (1 * 5 + 2) * 2 + 1  # 24 x 16 around (40, 24) in an input of 80 x 48
PERSON_BOX = [70, 100 / 3, 60, 100 / 3]  # that anchor in a picture of 200 x 100, xywh


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path):
    """Finds a person in the middle of every picture, surely, and a head, unsurely."""
    return save_onnx(tmp_path / "tiny.onnx", outputs_with({ANCHOR: (0, 4, -9), 0: (0, -9, -1)}))


@pytest.fixture
def data(tmp_path):
    """Three pictures: the person is there, is not there, is there but for the rest of the crowd."""
    images, annotations = [], []
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        name = f"pictures/{number}.png"
        cv2.imwrite(str(tmp_path / name), np.full((100, 200, 3), 50 * number, np.uint8))
        images.append(
            {
                "id": number,
                "file_name": name,
                "width": 200,
                "height": 100,
                "labeled_category_ids": [1],
            }
        )
    for number, crowd in ((0, 0), (2, 1)):
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": PERSON_BOX,
                "iscrowd": crowd,
                "area": 2000,
            }
        )
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "head"}]
    path = tmp_path / "set" / "test.json"
    path.parent.mkdir()
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


def evaluate(*arguments, error=None):
    """Run the command; (standard output, standard error)."""
    result = CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])
    if error is None:
        assert result.exception is None, result.output
    else:
        assert isinstance(result.exception, InputError), result.output
        assert error in str(result.exception)
    return result.stdout, result.stderr


def test_a_folder_for_plots_that_cannot_be(model, data, tmp_path):
    options = ("--images-root", tmp_path, "--plots", model / "plots")
    stdout, _ = evaluate(model, "--data", data, *options, error="is not a folder")
    assert stdout == ""


def test_json(model, data, tmp_path):
    stdout, stderr = evaluate(model, "--data", data, "--images-root", tmp_path, "--json")
    record = json.loads(stdout)
    assert (record["images"], record["boxes"], record["ignored_boxes"]) == (3, 1, 1)
    assert record["data"] == "set/test.json"
    for name in ("ap", "ap50", "ap75", "voc_ap50", "recall"):
        assert record[name] == pytest.approx(1), name
        assert len(record[f"{name}_interval"]) == 2
    # one true and one false detection of one score; the one on the crowd is neither
    assert (record["precision"], record["miss_rate"]) == (0.5, 0)
    assert record["f1"] == pytest.approx(2 / 3)
    assert record["score_threshold"] == SPEC.score_threshold
    assert record["best_threshold"] == pytest.approx(np.exp(4) / (np.exp(4) + 1), abs=1e-4)
    assert record["by_size"]["16-32"] == {"boxes": 1, "ap50": 1, "ap50_interval": [1, 1]}
    assert record["by_size"]["<10"] == {"boxes": 0, "ap50": None, "ap50_interval": None}
    assert record["ap_by_coco_size"]["medium"] == pytest.approx(1)
    assert record["ap_by_coco_size"]["large"] is None
    assert list(record["classes"]) == ["person"]
    assert len(record["sweep"]) == 19
    assert "has no boxes of head: this class is not evaluated" in stderr


def test_a_data_set_as_training_takes_it(model, data, tmp_path):
    """The same figures, but for a box that is 16 px to the last bit: it is float32 here."""
    stdout, _ = evaluate(
        model, "--data", data, "--images-root", tmp_path, "--json", "--classes", "person"
    )
    again, _ = evaluate(model, "--data", f"coco:{data}:{tmp_path}", "--json", "--classes", "person")
    one, other = json.loads(stdout), json.loads(again)
    for name in ("ap", "ap50", "ap50_interval", "mr2", "images", "boxes", "sweep"):
        assert one[name] == other[name], name
    limited, _ = evaluate(
        model, "--data", f"coco:{data}:{tmp_path}", "--limit", "1", "--json", "--classes", "person"
    )
    assert json.loads(limited)["images"] == 1
    twice = ("--data", f"coco:{data}:{tmp_path}", "--images-root", tmp_path)
    evaluate(model, *twice, error="says itself where the pictures are")


def test_tables(model, data, tmp_path):
    stdout, _ = evaluate(model, "--data", data, "--images-root", tmp_path)
    assert "set/test.json: 3 pictures, 1 box (person), 1 more are ignored" in stdout
    lines = [line.split() for line in stdout.splitlines()]
    assert ["AP50", "(COCO)", "1.000", "1.000", "-", "1.000"] in lines
    assert ["<10", "0", "-", "-"] in lines
    assert "Of fewer than 20 pictures they say little." in stdout
    assert ["0.9", "0.500", "1.000", "0.667", "0.33"] in lines


def test_the_second_run_detects_nothing_anew(model, data, tmp_path, cache):
    command = (model, "--data", data, "--images-root", tmp_path, "--json")
    first, stderr = evaluate(*command, "--no-cache")
    assert not cache.exists()
    assert evaluate(*command)[0] == first
    second, stderr = evaluate(*command)
    assert second == first
    assert "detections of 3 of 3 pictures came from another run" in stderr
    assert "kept" not in evaluate(*command, "--no-cache")[1]


def test_two_processes(model, data, tmp_path):
    command = (model, "--data", data, "--images-root", tmp_path, "--json", "--no-cache")
    assert evaluate(*command, "--workers", "2")[0] == evaluate(*command)[0]


def test_limit_threshold_classes(model, data, tmp_path):
    def record(*options):
        command = (model, "--data", data, "--images-root", tmp_path, "--json", *options)
        return json.loads(evaluate(*command)[0])

    assert record("--limit", "1")["precision"] == 1
    at_one = record("--score-threshold", "1")
    assert (at_one["miss_rate"], at_one["precision"]) == (1, None)
    assert at_one["ap50"] == pytest.approx(1)
    assert record("--score-threshold", "0")["score_threshold"] == 0
    both = record()
    assert "has no boxes of head" in both["notes"].pop()
    assert record("--classes", "person") == both
    evaluate(
        *(model, "--data", data, "--images-root", tmp_path, "--classes", "head"),
        error="no box of head in 0 annotated pictures",
    )
    evaluate(
        *(model, "--data", data, "--images-root", tmp_path, "--classes", "dog"),
        error="the model knows no class dog; its classes: person, head",
    )


def test_pictures_of_the_curves_and_faults(model, data, tmp_path):
    out = tmp_path / "out"
    command = (model, "--data", data, "--images-root", tmp_path, "--plots", out, "--json")
    stdout, stderr = evaluate(*command)
    json.loads(stdout)
    names = {"precision_recall.png", "miss_rate.png", "thresholds.png", "false_alarms.jpg"}
    assert {path.name for path in out.iterdir()} == names
    assert stderr.count("drawn: ") == 4


def test_the_pictures_lie_beside_the_json_unless_said_otherwise(model, data, tmp_path):
    evaluate(model, "--data", data, error="3 of the 3 pictures of")
    beside = tmp_path / "test.json"
    beside.write_text(data.read_text())
    assert "3 pictures" in evaluate(model, "--data", beside)[0]


def test_other_errors(model, data, tmp_path):
    evaluate("none.onnx", "--data", data, error="there is no file none.onnx")
    evaluate(model, "--data", tmp_path / "none.json", error="none.json: No such file")
    (tmp_path / "pictures" / "1.png").write_bytes(b"no picture")
    evaluate(model, "--data", data, "--images-root", tmp_path, error="cannot read the picture")


def test_checkpoints_and_dlcs(f38_checkpoint, tiny_dlc, data, tmp_path):
    """Untrained ones: every way in gives a record. The DLC's one frame is emulated."""
    heads = tmp_path / "heads.json"
    heads.write_text(data.read_text().replace("head", "cat").replace('"person"', '"head"'))
    for model, annotation, limit in ((f38_checkpoint, heads, 2), (tiny_dlc, data, 1)):
        options = ("--images-root", tmp_path, "--limit", limit, "--json")
        record = json.loads(evaluate(model, "--data", annotation, *options)[0])
        assert record["images"] == limit
        assert 0 <= record["ap50"] <= 1
