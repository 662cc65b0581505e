"""A detector's findings as annotations, and the file that `persondet label` writes."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_detector import outputs_with, save_onnx

from persondet.cli.label import command
from persondet.data.coco_json import read_coco_json
from persondet.data.pseudo_labels import LabelRule, coco_record, pseudo_labelled
from persondet.data.samples import DataSet
from persondet.errors import InputError
from persondet.images import write_image_rgb

RULE = LabelRule(certain=0.5, doubtful=0.2)
NAMES = ("background", "person", "head")


def labelled(path: Path, scores: list[float], class_ids: list[int], labeled=(1, 2)):
    count = len(scores)
    corners = np.arange(count, dtype=np.float32)[:, None] + np.array([0, 1, 10.25, 20], np.float32)
    return pseudo_labelled(
        *(path, (60, 90), corners, np.array(scores, np.float32)),
        *(np.array(class_ids, np.int64), labeled, RULE),
    )


def test_scores_exactly_at_the_limits_belong_to_the_better_side(tmp_path: Path) -> None:
    sample = labelled(tmp_path / "a.png", [0.9, 0.5, 0.4999, 0.2, 0.1999], [1, 2, 1, 1, 1])
    assert sample.ignore.tolist() == [False, False, True, True]
    assert sample.class_ids.tolist() == [1, 2, 1, 1]


@pytest.mark.parametrize("scores", [(0.2, 0.5), (0.5, 0.0), (1.1, 0.2)])
def test_a_rule_that_makes_no_sense_is_refused(scores: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"expected 0 < doubtful <= certain <= 1"):
        LabelRule(*scores)


def test_the_reader_reads_back_what_the_writer_wrote(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    samples = (
        labelled(tmp_path / "deep" / "a.png", [0.9, 0.3], [2, 1], labeled=(1, 2)),
        labelled(tmp_path / "empty.png", [], [], labeled=(1,)),
    )
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(coco_record(DataSet("set", NAMES, samples), tmp_path)))
    read = read_coco_json(path, tmp_path)
    assert read.class_names == NAMES
    for sample, again in zip(samples, read.samples, strict=True):
        assert again.image_path == sample.image_path
        assert again.size_hw == sample.size_hw
        assert again.labeled_class_ids == sample.labeled_class_ids
        np.testing.assert_allclose(again.boxes_xyxy_px, sample.boxes_xyxy_px, atol=0.01)
        np.testing.assert_array_equal(again.class_ids, sample.class_ids)
        np.testing.assert_array_equal(again.ignore, sample.ignore)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Finds one sure person, and a head of score 1 / (1 + 2 exp(-0.2)) = 0.38, anywhere."""
    return save_onnx(
        tmp_path / "tiny.onnx", outputs_with({3: (0.0, 5.0, -9.0), 33: (0.2, -9.0, 0.0)})
    ) or (tmp_path / "tiny.onnx")


def test_a_folder_is_labelled_and_trainable(tmp_path: Path, model: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a b.png", "c.png"):
        write_image_rgb(pictures / name, np.zeros((50, 70, 3), np.uint8))
    (pictures / "broken.png").write_bytes(b"\x89PNG")
    out = tmp_path / "labels.json"
    result = CliRunner().invoke(command, [str(model), str(pictures), "-o", str(out)])
    assert isinstance(result.exception, InputError)  # because of the broken one, named on stderr
    assert "1 picture could not be read" in str(result.exception)
    assert "broken.png" in result.stderr
    assert f"train with coco:{out}:{pictures}" in result.stdout
    read = read_coco_json(out, pictures)
    assert [sample.image_path.name for sample in read.samples] == ["a b.png", "c.png"]
    for sample in read.samples:
        assert sample.labeled_class_ids == (1, 2)
        assert sorted(zip(sample.class_ids.tolist(), sample.ignore.tolist(), strict=True)) == [
            (1, False),
            (2, True),
        ]
    assert json.loads((tmp_path / "labels.json.json").read_text())["step"] == "label"


def test_only_the_classes_asked_for_count_as_looked_for(tmp_path: Path, model: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    write_image_rgb(pictures / "a.png", np.zeros((50, 70, 3), np.uint8))
    out = tmp_path / "labels.json"
    arguments = [str(model), str(pictures), "-o", str(out), "--classes", "head"]
    CliRunner().invoke(command, arguments, catch_exceptions=False)
    image = json.loads(out.read_text())["images"][0]
    assert image["labeled_category_ids"] == [2]


def test_a_data_set_in_the_short_form(tmp_path: Path, model: Path) -> None:
    """Its pictures, each once; what is left out of it is said."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    write_image_rgb(pictures / "a.png", np.zeros((50, 70, 3), np.uint8))
    names = ("a.png", "a.png", "missing.png")
    record = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [],
        "categories": [{"id": 1, "name": "person"}],
    }
    data, out = tmp_path / "data.json", tmp_path / "labels.json"
    data.write_text(json.dumps(record))
    arguments = [str(model), str(data), "--images-root", str(pictures), "-o", str(out)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "1 x picture missing: dropped" in result.stderr
    assert "image annotated more than once" in result.stderr
    assert [s.image_path.name for s in read_coco_json(out, pictures).samples] == ["a.png"]
    result = CliRunner().invoke(command, [str(model), str(pictures), *arguments[2:]])
    assert "says itself where the pictures are" in str(result.exception)
    record["images"] = [{"id": 1, "file_name": str(pictures / "a.png")}]
    data.write_text(json.dumps(record))
    result = CliRunner().invoke(command, [*arguments[:3], str(tmp_path / "xml"), *arguments[4:]])
    assert "is not below" in str(result.exception)


def test_what_is_no_data_is_refused(tmp_path: Path, model: Path) -> None:
    arguments = [str(model), str(tmp_path / "nothing"), "-o", str(tmp_path / "l.json")]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, InputError)
    assert "is no folder of pictures, and no data set" in str(result.exception)
