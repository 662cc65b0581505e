"""COCO JSON as people write it: what is read, left out, refused."""

import json

import numpy as np
import pytest
from data_files import write_picture
from evaluation_data import NAMES

from benchmarks.evaluation.truth import read_truth, truth_of
from persondet.data.samples import DataSet, make_sample
from persondet.errors import InputError

CATEGORIES = [{"id": 7, "name": "Head"}, {"id": 3, "name": "person"}, {"id": 9, "name": "dog"}]


def image(number, **more):
    return {"id": number, "file_name": f"{number}.jpg", "width": 160, "height": 90, **more}


def box(number, category, bbox=(1, 2, 30, 40), **more):
    return {"image_id": number, "category_id": category, "bbox": list(bbox), **more}


def written(tmp_path, images, annotations, categories=CATEGORIES):
    for item in images:
        write_picture(tmp_path / item["file_name"], (90, 160))
    path = tmp_path / "truth.json"
    record = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(record))
    return path


def read(path, *arguments, **options):
    return read_truth([str(path)], NAMES, *arguments, **options)


def test_boxes_by_the_models_own_classes(tmp_path):
    annotations = [
        box(1, 3, area=99.5),
        box(1, 7, (5, 6, 10, 20), iscrowd=1),
        box(1, 7, ignore=1),
        box(1, 9),
        box(2, 7),
        box(77, 3),  # of no image here
    ]
    truth = read(written(tmp_path, [image(1), image(2), image(3)], annotations))
    first, second, third = truth.pictures
    assert truth.name == f"{tmp_path.name}/truth.json"
    assert truth.evaluated_class_ids == (1, 2)
    assert first.path == tmp_path / "1.jpg"
    assert first.size_hw == (90, 160)
    assert first.boxes_xyxy_px.tolist() == [[1, 2, 31, 42], [5, 6, 15, 26], [1, 2, 31, 42]]
    assert first.class_ids.tolist() == [1, 2, 2]
    assert first.ignored.tolist() == [False, True, True]
    assert first.areas_px.tolist() == [99.5, 200, 1200]
    assert second.class_ids.tolist() == [2]
    assert third.boxes_xyxy_px.shape == (0, 4)


def test_pictures_that_are_annotated_for_some_classes(tmp_path):
    images = [
        image(1, labeled_category_ids=[3]),
        image(2, labeled_category_ids=[9]),
        image(3, labeled_category_ids=[7, 3]),
        image(4),
    ]
    annotations = [box(1, 3), box(1, 7), box(3, 7), box(4, 3)]
    path = written(tmp_path, images, annotations)
    pictures = read(path).pictures
    assert [picture.path.stem for picture in pictures] == ["1", "3", "4"]
    assert [picture.annotated_class_ids for picture in pictures] == [(1,), (1, 2), (1, 2)]
    assert [len(picture.class_ids) for picture in pictures] == [1, 1, 1]
    heads = read(path, ["head"])
    assert [picture.path.stem for picture in heads.pictures] == ["3", "4"]
    assert heads.evaluated_class_ids == (2,)
    assert [picture.path.stem for picture in read(path, limit=2).pictures] == ["1", "3"]


def test_a_class_without_boxes_is_left_out_and_said(tmp_path):
    path = written(tmp_path, [image(1)], [box(1, 3), box(1, 7, iscrowd=1)])
    truth = read(path)
    assert truth.evaluated_class_ids == (1,)
    assert any("has no boxes of head: this class is not evaluated" in n for n in truth.notes)
    with pytest.raises(InputError, match=r"no box of head in 1 annotated pictures"):
        read(path, ["head"])
    with pytest.raises(InputError, match=r"no box of person, head in 1 annotated pictures"):
        read(written(tmp_path, [image(1)], []))


def test_boxes_without_an_area_are_left_out_and_said(tmp_path):
    flat = [box(1, 3, (1, 1, 0, 5)), box(1, 3, (1, 1, 5, -1)), box(1, 3, (1, float("nan"), 5, 5))]
    truth = read(written(tmp_path, [image(1)], [*flat, box(1, 3)]))
    assert len(truth.pictures[0].class_ids) == 1
    (size, number) = truth.notes[:2]
    assert "2 x box of no size, or its corners the wrong way round: dropped" in size
    assert "1 x box with a corner that is no number: dropped" in number


def test_a_class_that_the_json_lacks_names_both_lists(tmp_path):
    path = written(tmp_path, [image(1)], [box(1, 3)], CATEGORIES[1:])
    with pytest.raises(
        InputError, match=r"no category head: the model's classes are person, head, .* person, dog;"
    ):
        read(path)
    assert read(path, ["person"]).evaluated_class_ids == (1,)
    with pytest.raises(InputError, match=r"knows no class dog; its classes: person, head"):
        read(path, ["dog"])
    with pytest.raises(InputError, match="the categories none"):
        read(written(tmp_path, [image(1)], [], []))


def test_missing_pictures_are_listed(tmp_path):
    path = written(tmp_path, [image(i) for i in range(1, 10)], [box(1, 3)])
    for number in range(2, 10):
        (tmp_path / f"{number}.jpg").unlink()
    with pytest.raises(InputError, match=r"(?s)8 of the 9 pictures .*2\.jpg.*6\.jpg\n  and 3 more"):
        read(path)
    assert len(read(path, limit=1).pictures) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no COCO annotation"),
        ("[1]", "is no COCO annotation"),
        ('{"images": [], "annotations": []}', "is no COCO annotation"),
        ('{"images": [], "annotations": {}, "categories": []}', "is no COCO annotation"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": 5}]}',
            r"truth\.json: category number 1: id 1, name 5; expected an id and a name",
        ),
    ],
)
def test_other_files(tmp_path, text, message):
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read(path)
    with pytest.raises(InputError, match=r"cannot read .*none\.json: No such file"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize("bbox", [[1, 2, 3], "1234", [1, 2, 3, "x"], None])
def test_boxes_that_are_none(tmp_path, bbox):
    path = written(tmp_path, [image(1)], [box(1, 3)])
    path.write_text(path.read_text().replace("[1, 2, 30, 40]", json.dumps(bbox)))
    message = r"truth\.json: annotation number 1: bbox .*, expected x, y, width, height in pixels"
    with pytest.raises(InputError, match=message):
        read(path)


def test_two_images_of_one_id(tmp_path):
    message = r"truth\.json: two images have the id 1: 1\.jpg and 2\.jpg; which of them"
    with pytest.raises(InputError, match=message):
        read(written(tmp_path, [image(1), {**image(1), "file_name": "2.jpg"}], []))


def test_a_data_set_of_any_format(tmp_path):
    """In the data set's order of classes, which is not the model's."""
    boxes = [((1, 2, 11, 22), 1, False), ((5, 5, 9, 9), 3, False), ((0, 0, 4, 4), 2, True)]
    path = write_picture(tmp_path / "a.jpg", (90, 160))
    sample = make_sample(path, boxes, [1, 2, 3], (90, 160))
    names = ("background", "head", "person", "dog")
    (picture,) = truth_of(DataSet("mine", names, (sample,)), NAMES).pictures
    assert picture.class_ids.tolist() == [2, 1]
    assert picture.ignored.tolist() == [False, True]
    assert picture.areas_px.tolist() == [200, 16]
    assert picture.annotated_class_ids == (1, 2)
    assert picture.boxes_xyxy_px.dtype == np.float64
    with pytest.raises(InputError, match="mine has no category head"):
        truth_of(DataSet("mine", ("background", "person"), (sample,)), NAMES)
