"""Annotations as people really write them: each kind in its plain meaning, counted, or refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import voc_xml, write_picture

from benchmarks.evaluation.truth import Truth, read_truth
from persondet.data.samples import DataSet
from persondet.data.sources import open_dataset, parse_sources
from persondet.errors import InputError

NAMES = ("background", "person", "head")
SIZE_HW = (48, 80)
Change = Callable[[dict[str, Any]], object]


def record() -> dict[str, Any]:
    """Four images with two persons each, one of them a crowd."""
    images = [
        {"id": i, "file_name": f"p{i}.png", "height": SIZE_HW[0], "width": SIZE_HW[1]}
        for i in range(1, 5)
    ]
    annotations = [
        {
            "id": 2 * i + k,
            "image_id": i,
            "category_id": 1,
            "bbox": [5 + 30 * k, 6, 20, 40],
            "area": 800,
            "iscrowd": int(i == 1 and k == 0),
        }
        for i in range(1, 5)
        for k in (0, 1)
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "head"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def written(folder: Path, *changes: Change, data: dict[str, Any] | None = None) -> Path:
    data = data or record()
    for change in changes:
        change(data)
    for number in range(1, 5):
        write_picture(folder / f"p{number}.png", SIZE_HW)
    path = folder / "t.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def half(key: str, value: object, kind: str = "annotations") -> Change:
    """Give the second half of the entries this value, or what a function of the old one says."""

    def change(data: dict[str, Any]) -> None:
        for item in data[kind][len(data[kind]) // 2 :]:
            item[key] = value(item[key]) if callable(value) else value

    return change


def of_all(key: str, value: object, kind: str = "annotations") -> Change:
    def change(data: dict[str, Any]) -> None:
        for item in data[kind]:
            item[key] = value(item[key]) if callable(value) else value

    return change


def learnt(path: Path) -> DataSet:
    return open_dataset(str(path))


def truth(path: Path) -> Truth:
    return read_truth([str(path)], NAMES, ["person"])


def boxes_of(dataset: DataSet) -> list[tuple[str, list[float], int, bool]]:
    return [
        (sample.image_path.name, box.tolist(), int(class_id), bool(ignore))
        for sample in dataset.samples
        for box, class_id, ignore in zip(
            sample.boxes_xyxy_px, sample.class_ids, sample.ignore, strict=True
        )
    ]


def true_boxes(found: Truth) -> list[tuple[str, list[float], int, bool]]:
    return [
        (picture.path.name, box.tolist(), int(class_id), bool(ignore))
        for picture in found.pictures
        for box, class_id, ignore in zip(
            picture.boxes_xyxy_px, picture.class_ids, picture.ignored, strict=True
        )
    ]


BASE = [
    (f"p{i}.png", [5 + 30 * k, 6, 25 + 30 * k, 46], 1, i == 1 and k == 0)
    for i in range(1, 5)
    for k in (0, 1)
]


@pytest.mark.parametrize(
    "change",
    [
        half("image_id", str),
        half("image_id", float),
        half("category_id", "1"),
        half("id", str, "images"),
        of_all("iscrowd", str),
        of_all("iscrowd", bool),
        of_all("iscrowd", lambda flag: "true" if flag else "False"),
        half("iscrowd", None),
        half("iscrowd", ""),
        of_all("height", str, "images"),
        of_all("width", float, "images"),
        half("bbox", lambda bbox: [str(side) for side in bbox]),
        half("area", str),
        of_all("file_name", lambda name: f"./{name}", "images"),
    ],
)
def test_another_spelling_of_the_same(tmp_path: Path, change: Change) -> None:
    path = written(tmp_path, change)
    assert boxes_of(learnt(path)) == BASE
    assert not learnt(path).report.counts
    assert true_boxes(truth(path)) == BASE
    assert truth(path).notes == ()


@pytest.mark.parametrize("value", [None, 0, "", "big", -80, 80.5])
def test_a_size_that_says_none_is_the_images_own(tmp_path: Path, value: object) -> None:
    path = written(tmp_path, half("width", value, "images"))
    dataset = learnt(path)
    assert boxes_of(dataset) == BASE
    reason = "image whose annotation has no usable size: its own is taken"
    assert dataset.report.counts == {reason: 2}
    assert f"2 x {reason} (first: p3.png)" in truth(path).notes[0]


@pytest.mark.parametrize(
    ("change", "reason", "first"),
    [
        (half("category_id", None), "box without a category id: dropped", "annotation 6"),
        (half("category_id", True), "box without a category id: dropped", "annotation 6"),
        (half("category_id", 9), "box of a category that is not listed: dropped", "annotation 6"),
        (half("category_id", "x"), "box of a category that is not listed: dropped", "annotation 6"),
        (half("image_id", None), "box without an image id: dropped", "annotation 6"),
        (half("image_id", 99), "box of a picture that is not listed: dropped", "annotation 6"),
        (half("image_id", "007"), "box of a picture that is not listed: dropped", "annotation 6"),
    ],
)
def test_boxes_that_belong_nowhere_are_counted_by_kind(
    tmp_path: Path, change: Change, reason: str, first: str
) -> None:
    path = written(tmp_path, change)
    dataset = learnt(path)
    assert boxes_of(dataset) == BASE[:4]
    assert dataset.report.counts == {reason: 4} and dataset.report.first == {reason: first}
    assert true_boxes(truth(path)) == BASE[:4]
    assert f"4 x {reason} (first: {first})" in truth(path).notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (half("bbox", []), r"annotation 6: bbox \[\], expected x, y, width, height in pixels"),
        (half("bbox", [1, 2, None, 4]), r"annotation 6: bbox \[1, 2, None, 4\], expected x, y"),
        (half("bbox", "1234"), "annotation 6: bbox '1234', expected x, y, width, height"),
        (
            half("bbox", [9, 9, 4, 4, 30]),
            r"annotation 6: bbox .* is a rotated box; expected .* upr",
        ),
        (half("iscrowd", "maybe"), "annotation 6: iscrowd 'maybe', expected 0 or 1"),
        (half("iscrowd", [1]), r"annotation 6: iscrowd \[1\]"),
        (half("id", None, "images"), r"image number 3 \(p3\.png\): id None, expected a number or"),
        (half("id", 1, "images"), r"two images have the id 1: p1\.png and p3\.png; which of them"),
        (half("id", "1", "images"), "two images have the id 1"),
        (half("file_name", None, "images"), "image 3: file_name None, expected the name of a file"),
        (half("id", 1, "categories"), "two categories have the id 1: 'person' and 'head'"),
        (half("id", None, "categories"), "category number 2: id None, name 'head'; expected an id"),
        (half("name", 5, "categories"), "category number 2: id 2, name 5; expected an id and a"),
        (lambda data: data["annotations"].append(5), "annotation number 9 is 5, expected a JSON"),
        (lambda data: data["images"].append("p5.png"), "image number 5 is 'p5.png', expected a J"),
        (
            lambda data: data["images"][1].update(labeled_category_ids="person"),
            "image 2: labeled_category_ids 'person', expected a list of the ids",
        ),
    ],
)
def test_what_has_no_plain_meaning_is_refused_by_name(
    tmp_path: Path, change: Change, message: str
) -> None:
    path = written(tmp_path, change)
    for read in (learnt, truth):
        with pytest.raises(InputError, match=rf"t\.json: {message}"):
            read(path)


def relative(bbox: list[float]) -> list[float]:
    x, y, width, height = bbox
    return [x / SIZE_HW[1], y / SIZE_HW[0], width / SIZE_HW[1], height / SIZE_HW[0]]


def corners(bbox: list[float]) -> list[float]:
    x, y, width, height = bbox
    return [x, y, x + width, y + height]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [of_all("bbox", relative)],
            "annotation 2: bbox .* within 0 and 1, and so do 8 of 8 boxes",
        ),
        ([half("bbox", relative)], "annotation 6: bbox .* within 0 and 1, and so do 4 of 8 boxes"),
        (
            [of_all("bbox", corners)],
            r"annotation 2: bbox \[5.*\] seems to be corners .*: its area is that of corners",
        ),
        (
            [of_all("bbox", corners), of_all("area", None)],
            r"annotation 3: bbox \[35.*\] seems to be corners x1, y1, x2, y2: it would reach far",
        ),
    ],
)
def test_boxes_in_another_frame_are_refused(
    tmp_path: Path, changes: list[Change], message: str
) -> None:
    path = written(tmp_path, *changes)
    for read in (learnt, truth):
        with pytest.raises(InputError, match=rf"t\.json: {message}"):
            read(path)


def test_a_box_within_0_and_1_among_boxes_in_pixels_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, lambda data: data["annotations"][2].update(bbox=[0, 0, 1, 1]))
    dataset = learnt(path)
    assert boxes_of(dataset) == BASE[:2] + BASE[3:]
    assert dataset.report.counts == {"box within 0 and 1, which are no pixels: dropped": 1}
    assert true_boxes(truth(path)) == BASE[:2] + BASE[3:]


def test_large_boxes_near_the_corner_are_not_taken_for_corners(tmp_path: Path) -> None:
    """All could be corners, and all reach beyond the border, but not far."""
    path = written(tmp_path, of_all("bbox", [6, 4, 79, 47]), of_all("area", 79 * 47))
    assert {tuple(box) for _, box, _, _ in true_boxes(truth(path))} == {(6, 4, 85, 51)}


def test_an_image_listed_twice_is_one_image(tmp_path: Path) -> None:
    path = written(tmp_path, lambda data: data["images"].append(dict(data["images"][0])))
    dataset = learnt(path)
    assert boxes_of(dataset) == BASE
    assert dataset.report.counts == {"image listed twice under one id: taken once": 1}
    assert len(truth(path).pictures) == 4


def test_an_image_under_two_ids_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, half("file_name", lambda name: "p1.png", "images"))
    assert learnt(path).report.counts == {"image annotated more than once: each for itself": 2}
    assert "image annotated more than once" in truth(path).notes[0]


def test_ids_of_annotations_that_repeat_are_said(tmp_path: Path) -> None:
    path = written(tmp_path, half("id", 3))
    dataset = learnt(path)
    assert boxes_of(dataset) == BASE
    assert dataset.report.counts == {"id of several annotations: each counts": 4}


@pytest.mark.parametrize(("name", "said"), [("person", 0), ("Person", 1), (" person", 0)])
def test_all_ids_of_a_name_are_one_class(tmp_path: Path, name: str, said: int) -> None:
    def change(data: dict[str, Any]) -> None:
        data["categories"].append({"id": "5", "name": name})

    path = written(tmp_path, change, half("category_id", 5))
    dataset = learnt(path)
    assert boxes_of(dataset) == BASE
    assert dataset.class_names == NAMES
    reason = "class name that differs in capitals only: one class"
    assert dataset.report.counts == ({reason: 1} if said else {})
    assert true_boxes(truth(path)) == BASE
    assert len(truth(path).notes) == said


def test_a_class_is_found_by_its_name_in_other_capitals(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["categories"] = [{"id": 1, "name": "Person"}]

    path = written(tmp_path, change)
    assert true_boxes(truth(path)) == BASE
    dataset = open_dataset(f"coco:{path}:{tmp_path}:human=PERSON")
    assert dataset.class_names == ("background", "human") and len(boxes_of(dataset)) == 8


def test_a_box_of_another_class_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, half("category_id", 2))
    found = truth(path)
    assert true_boxes(found) == BASE[:4]
    assert "4 x box of a class that is not asked for: left out (first: 'head', p3" in found.notes[0]


def test_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert boxes_of(learnt(path)) == true_boxes(truth(path)) == BASE


@pytest.mark.parametrize("prefix", ["sub\\", "sub/", "C:\\data\\", "C:/data/", "/nowhere/data/"])
def test_paths_of_other_machines(tmp_path: Path, prefix: str) -> None:
    path = written(tmp_path, half("file_name", lambda name: prefix + name, "images"))
    if prefix.startswith("sub"):
        (tmp_path / "sub").mkdir()
        for name in ("p3.png", "p4.png"):
            (tmp_path / name).rename(tmp_path / "sub" / name)
    assert boxes_of(learnt(path)) == true_boxes(truth(path)) == BASE


def test_a_backslash_that_is_part_of_the_name(tmp_path: Path) -> None:
    path = written(tmp_path, half("file_name", lambda name: f"a\\{name}", "images"))
    for name in ("p3.png", "p4.png"):
        (tmp_path / name).rename(tmp_path / f"a\\{name}")
    assert len(boxes_of(learnt(path))) == 8


def test_areas_are_the_files_where_it_has_any(tmp_path: Path) -> None:
    path = written(tmp_path, half("area", 0))
    found = truth(path)
    areas = [area for picture in found.pictures for area in picture.areas_px.tolist()]
    assert areas == [800] * 8
    path = written(tmp_path, of_all("area", 321.5), half("area", None))
    areas = [area for picture in truth(path).pictures for area in picture.areas_px.tolist()]
    assert areas == [321.5] * 4 + [800] * 4
    assert "4 x box whose area is 0 or no number: width x height is taken" in truth(path).notes[0]


def test_a_rotation_among_the_attributes_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, rotated)
    dataset = learnt(path)
    assert boxes_of(dataset) == BASE
    assert dataset.report.counts == {
        "box with a rotation among its attributes: its upright bbox is taken": 1
    }


def rotated(data: dict[str, Any]) -> None:
    data["annotations"][0]["attributes"] = {"rotation": 0.0}
    data["annotations"][1]["attributes"] = {"rotation": 30.0}


def test_beyond_the_border_learning_clips_and_evaluation_does_not(tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["annotations"][1]["bbox"] = [-10, 6, 30, 40]
        data["annotations"][2]["bbox"] = [100, 6, 30, 40]
        data["annotations"][3]["bbox"] = [10, 6, 0.5, 40]

    path = written(tmp_path, change)
    dataset = learnt(path)
    assert boxes_of(dataset)[:3] == [
        ("p1.png", [5, 6, 25, 46], 1, True),
        ("p1.png", [0, 6, 20, 46], 1, False),
        ("p3.png", [5, 6, 25, 46], 1, False),
    ]
    assert dataset.report.counts == {
        "box partly outside the picture: clipped": 1,
        "box outside the picture: dropped": 1,
        "box of no size, or its corners the wrong way round: dropped": 1,
    }
    found = truth(path)
    assert [box for _, box, _, _ in true_boxes(found)[1:4]] == [
        [-10, 6, 20, 46],
        [100, 6, 130, 46],
        [10, 6, 10.5, 46],
    ]
    notes = " ".join(found.notes)
    for words in (
        "1 x box partly outside the picture: taken as annotated (first: p1.png)",
        "1 x box outside the picture: to be found all the same (first: p2.png)",
        "1 x box thinner than 1 px: to be found all the same (first: p2.png)",
    ):
        assert words in notes


def test_a_size_as_stored_before_the_exif_orientation(tmp_path: Path) -> None:
    path = written(tmp_path, half("file_name", "turned.jpg", "images"))
    data = json.loads(path.read_text())
    del data["images"][3], data["annotations"][6:]
    path.write_text(json.dumps(data))
    write_picture(tmp_path / "turned.jpg", SIZE_HW, orientation=6)
    reason = (
        "picture of another size than its annotation says, width and height exchanged as by an "
    )
    assert learnt(path).report.counts == {f"{reason}EXIF orientation: dropped": 1}
    message = (
        r"turned\.jpg is 48 x 80 pixels as displayed, its annotation says 80 x 48: .*, width and "
        "height exchanged as by an EXIF orientation; annotate it as displayed"
    )
    with pytest.raises(InputError, match=message):
        truth(path)


def test_the_short_form_is_the_long_one(tmp_path: Path) -> None:
    path = written(tmp_path)
    elsewhere = tmp_path / "set" / "t.JSON"
    elsewhere.parent.mkdir()
    path.rename(elsewhere)
    (short,) = parse_sources([str(elsewhere)], tmp_path)
    (long,) = parse_sources([f"coco:{elsewhere}:{tmp_path}"], None)
    assert short == long
    assert boxes_of(open_dataset(short)) == BASE
    with pytest.raises(InputError, match=r"4 of the 4 pictures of .* are not there"):
        truth(elsewhere)
    with pytest.raises(InputError, match=r"--images-root: coco:a\.json:b says itself where the pi"):
        parse_sources(["coco:a.json:b"], tmp_path)


def test_voc_below_folders_in_capitals_and_with_unusual_suffixes(tmp_path: Path) -> None:
    annotations, images = tmp_path / "A", tmp_path / "J"
    head = [("head", (1, 1, 20, 20), 0), ("Head", (31, 1, 50, 20), 0)]
    for name, image in (
        ("a.xml", "a.png"),
        ("b.XML", "b.jfif"),
        ("cam1/c.xml", "cam1/c.png"),
        ("cam2/c.xml", "cam2/c.PNG"),
        ("cam3/d.xml", "d.Jpg"),
    ):
        (annotations / name).parent.mkdir(parents=True, exist_ok=True)
        (annotations / name).write_text(voc_xml(head))
        write_picture(images / Path(image).with_suffix(".png"), SIZE_HW).rename(images / image)
    (annotations / ".a.xml").write_text("hidden")
    dataset = open_dataset(f"voc:{annotations}:{images}")
    found = [sample.image_path.relative_to(images).as_posix() for sample in dataset.samples]
    assert sorted(found) == ["a.png", "b.jfif", "cam1/c.png", "cam2/c.PNG", "d.Jpg"]
    assert dataset.class_names == ("background", "head")
    assert [len(sample) for sample in dataset.samples] == [2] * 5
    assert dataset.report.counts == {"class name that differs in capitals only: one class": 1}
    evaluated = read_truth([f"voc:{annotations}:{images}"], NAMES, ["head"])
    assert [len(picture.class_ids) for picture in evaluated.pictures] == [2] * 5


def test_voc_with_text_flags_rotated_boxes_and_folders_in_filename(tmp_path: Path) -> None:
    annotations = tmp_path / "A"
    annotations.mkdir()
    upright = voc_xml([("head", (1, 1, 20, 20), 0)], "cam\\x.png")
    (annotations / "one.xml").write_text(
        upright.replace("<difficult>0<", "<difficult> True <", 1).replace("80<", "0<")
    )
    (annotations / "two.xml").write_text(upright.replace("bndbox", "robndbox"))
    write_picture(tmp_path / "J" / "cam" / "x.png", SIZE_HW)
    dataset = open_dataset(f"voc:{annotations}:{tmp_path / 'J'}")
    (sample,) = dataset.samples
    assert sample.image_path == tmp_path / "J" / "cam" / "x.png"
    assert sample.ignore.tolist() == [True]
    assert dataset.report.counts == {
        "annotation file with rotated boxes (robndbox): skipped": 1,
        "image whose annotation has no usable size: its own is taken": 1,
    }


def test_boxes_keep_their_last_digits_for_evaluation(tmp_path: Path) -> None:
    """In float32 a box that is 16 px to the last bit would be less."""
    path = written(tmp_path, of_all("bbox", [0.1, 0.2, 16.7, 30.3]))
    (box, *_) = truth(path).pictures[0].boxes_xyxy_px
    np.testing.assert_array_equal(box, [0.1, 0.2, 0.1 + 16.7, 0.2 + 30.3])
