"""JSON lines and COCO results, the latter read by pycocotools."""

import json
from pathlib import Path

import numpy as np
import pytest

from runtime.detections import Detections
from runtime.output import coco_image_ids, coco_results, found_record, json_line, write_coco_results

FOUND = found_record(
    (48, 80),
    Detections(
        np.array([[1.5, 2, 30.25, 40], [0.1, 0, 5, 6]], np.float32),
        np.array([0.75, 0.5], np.float32),
        np.array([1, 2], np.int64),
    ),
    ("background", "person", "head"),
)


def test_a_record_as_a_line():
    line = json_line({"path": "fotos/größe\n.png", **FOUND})
    assert "\n" not in line
    again = json.loads(line)
    assert (again["path"], again["width"], again["height"]) == ("fotos/größe\n.png", 80, 48)
    assert again["detections"][0] == {
        "box_xyxy": [1.5, 2.0, 30.25, 40.0],
        "score": 0.75,
        "class_id": 1,
        "class_name": "person",
    }


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["000000000139.jpg", "7.png"], [139, 7]),
        (["7.jpg", "a.jpg", "9.jpg"], [1, 2, 3]),
        (["x/7.jpg", "y/7.jpg"], [1, 2]),
        (["7.jpg", "007.png"], [1, 2]),
        (["²³.jpg", "1.jpg"], [1, 2]),
        ([], []),
    ],
)
def test_image_ids(names, ids):
    assert coco_image_ids([Path(name) for name in names]) == ids


def test_coco_results():
    first, second = coco_results(FOUND, 139, "a.jpg")
    assert first == {
        "image_id": 139,
        "category_id": 1,
        "bbox": [1.5, 2.0, 28.75, 38.0],
        "score": 0.75,
        "file_name": "a.jpg",
    }
    assert second["bbox"] == [0.1, 0.0, 4.9, 6.0]
    assert second["category_id"] == 2


def test_pycocotools_reads_them(tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    truth = coco.COCO()
    truth.dataset = {
        "images": [{"id": 139, "file_name": "a.jpg", "width": 80, "height": 48}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "head"}],
        "annotations": [],
    }
    truth.createIndex()
    write_coco_results(tmp_path / "results.json", coco_results(FOUND, 139, "a.jpg"))
    loaded = truth.loadRes(str(tmp_path / "results.json"))
    assert [loaded.anns[1]["area"], loaded.anns[2]["image_id"]] == [28.75 * 38, 139]


def test_nothing_found(tmp_path):
    write_coco_results(tmp_path / "sub" / "results.json", [])
    assert json.loads((tmp_path / "sub" / "results.json").read_text()) == []
