"""The five formats: hand-written files after their descriptions, and real ones where they are."""

import json
from pathlib import Path

import numpy as np
import pytest
from data_files import voc_xml, write_picture

from persondet.data.brainwash import read_brainwash
from persondet.data.cleaning import cleaned
from persondet.data.coco_json import read_coco_json
from persondet.data.crowdhuman import read_crowdhuman
from persondet.data.sources import open_dataset
from persondet.data.voc_xml import read_voc_xml
from persondet.data.wider_face import read_wider_face
from persondet.errors import InputError

ROOT = Path("pictures")


# WIDER FACE, after the readme of wider_face_split: name, count, `x1, y1, w, h, blur, expression,
# illumination, invalid, occlusion, pose`; the published files end rows with a blank.
WIDER = """\
0--Parade/0_Parade_marchingband_1_849.jpg
1
449 330 122 149 0 0 0 0 0 0 \n\
0--Parade/0_Parade_Parade_0_452.jpg
0
0 0 0 0 0 0 0 0 0 0 \n\
1--Handshaking/1_Handshaking_Handshaking_1_209.jpg
3
10 20 30 40 2 0 0 1 0 0 \n\
361 98 263 339 0 0 0 0 0 0 \n\
5 5 0 7 0 0 1 0 2 1 \n"""


def test_wider_face(tmp_path: Path) -> None:
    path = tmp_path / "wider_face_train_bbx_gt.txt"
    path.write_text(WIDER)
    one, none, three = read_wider_face(path, ROOT).samples
    assert one.image_path == ROOT / "0--Parade/0_Parade_marchingband_1_849.jpg"
    assert one.boxes_xyxy_px.tolist() == [[449, 330, 571, 479]]
    assert one.boxes_xyxy_px.dtype == np.float64
    assert one.class_ids.tolist() == [1] and one.labeled_class_ids == (1,)
    assert none.boxes_xyxy_px.shape == (0, 4) and none.ignore.shape == (0,)
    assert three.ignore.tolist() == [True, False, False]  # the invalid one


def test_wider_face_without_the_row_of_zeros(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("a.jpg\n0\nb.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n")
    dataset = read_wider_face(path, ROOT, "face")
    assert [len(sample) for sample in dataset.samples] == [0, 1]
    assert dataset.class_names == ("background", "face")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg\n", "gt.txt, line 2: expected the number of faces of 'a.jpg'.*end of the file"),
        ("a.jpg\n-1\n", "line 2: expected the number of faces of 'a.jpg'.*found '-1'"),
        ("a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n", "line 4: expected 10 whole numbers, found 'the end"),
        ("a.jpg\n1\n1 2 3 4\n", "line 3: expected 10 whole numbers, found '1 2 3 4'"),
        ("a.jpg\n1\n1 2 x 4 0 0 0 0 0 0\n", "line 3: expected 10 whole numbers"),
        ("a.jpg\n0\n1 2 3 4 0 0 0 0 0 0\n", "line 4: expected the number of faces of '1 2 3 4"),
    ],
)
def test_wider_face_refuses_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "gt.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_wider_face(path, ROOT)


# Brainwash, after its readme: image name, then rectangles in the form xmin, ymin, xmax, ymax.
BRAINWASH = """\
"brainwash_10_27_2014_images/00000000_640x480.png": (319.0, 249.0, 336.0, 274.0), (1, 2, 30.5, 40);
"brainwash_10_27_2014_images/00004000_640x480.png";
"brainwash_10_27_2014_images/00008000_640x480.png": (30.0, 40.0, 10.0, 20.0):0.9/1;

"brainwash_10_27_2014_images/00012000_640x480.png": (-1.0, 2.0, 3.0, 4.0).
"""


def test_brainwash(tmp_path: Path) -> None:
    path = tmp_path / "brainwash_train.idl"
    path.write_text(BRAINWASH)
    dataset = read_brainwash(path, ROOT)
    two, none, swapped, last = dataset.samples
    assert two.image_path == ROOT / "brainwash_10_27_2014_images/00000000_640x480.png"
    assert two.boxes_xyxy_px.tolist() == [[319, 249, 336, 274], [1, 2, 30.5, 40]]
    assert len(none) == 0 and none.labeled_class_ids == (1,)
    assert swapped.boxes_xyxy_px.tolist() == [[10, 20, 30, 40]]
    assert last.boxes_xyxy_px.tolist() == [[-1, 2, 3, 4]]
    assert dataset.report.counts == {"box with swapped corners: put right": 1}
    assert dataset.report.first == {"box with swapped corners: put right": "line 3"}


@pytest.mark.parametrize(
    "line",
    ["a.png: (1, 2, 3, 4);", '"a.png": (1, 2, 3);', '"a.png": (1, 2, 3, x);', '"a.png" (1,2,3,4);'],
)
def test_brainwash_refuses_with_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.idl"
    path.write_text(f'"good.png";\n{line}\n')
    with pytest.raises(InputError, match=r"bad.idl, line 2: expected \"picture.png\": \(x1"):
        read_brainwash(path, ROOT)


def _person(**changes: object) -> dict[str, object]:
    return {
        "tag": "person",
        "hbox": [10, 5, 4, 6],
        "head_attr": {"ignore": 0, "occ": 0, "unsure": 0},
        "fbox": [8, 4, 10, 40],
        "vbox": [9, 5, 8, 20],
        "extra": {"box_id": 0, "occ": 1},
        **changes,
    }


def _odgt(path: Path, *items: dict[str, object]) -> Path:
    path.write_text(json.dumps({"ID": "27,abc", "gtboxes": items}) + "\n")
    return path


def test_crowdhuman_boxes_tags_and_flags(tmp_path: Path) -> None:
    path = _odgt(
        tmp_path / "train.odgt",
        _person(),
        _person(head_attr={"ignore": 1}),
        _person(extra={"ignore": 1}),
        _person(tag="mask", hbox=None, head_attr={}),
        _person(hbox=None, head_attr=None),
    )
    dataset = read_crowdhuman(path, ROOT)
    (sample,) = dataset.samples
    assert sample.image_path == ROOT / "27,abc.jpg"
    assert dataset.class_names == ("background", "head", "person")
    heads, persons = sample.class_ids == 1, sample.class_ids == 2
    assert sample.boxes_xyxy_px[heads][0].tolist() == [10, 5, 14, 11]
    assert sample.boxes_xyxy_px[persons][0].tolist() == [8, 4, 18, 44]
    assert sample.ignore[heads].tolist() == [False, True, True, True]
    assert sample.ignore[persons].tolist() == [False, False, True, True, False]
    assert dataset.report.counts == {"person without hbox: box skipped": 1}
    # A mask's region counts for heads too, though it has no head.
    assert sample.boxes_xyxy_px[heads][3].tolist() == [8, 4, 18, 44]


def test_crowdhuman_visible_boxes(tmp_path: Path) -> None:
    path = _odgt(tmp_path / "train.odgt", _person())
    (sample,) = read_crowdhuman(path, ROOT, {"person": "vbox"}).samples
    assert sample.boxes_xyxy_px.tolist() == [[9, 5, 17, 25]]
    with pytest.raises(InputError, match="no box bbox; expected hbox, fbox, vbox"):
        read_crowdhuman(path, ROOT, {"person": "bbox"})


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        '{"ID": "a"}',
        '{"ID": "a", "gtboxes": [{"tag": "person", "hbox": [1, 2, 3], "fbox": [1, 2, 3, 4]}]}',
        '{"ID": "a", "gtboxes": [{"hbox": [1, 2, 3, 4]}]}',
    ],
)
def test_crowdhuman_refuses_with_the_line(tmp_path: Path, line: str) -> None:
    path = _odgt(tmp_path / "bad.odgt", _person())
    path.write_text(path.read_text() + "\n" + line + "\n")
    with pytest.raises(InputError, match=r"bad.odgt, line 3: expected a JSON object with ID and"):
        read_crowdhuman(path, ROOT)


def test_voc_difficult_wrong_filename_parts(tmp_path: Path) -> None:
    """Boxes of parts inside an object are no boxes; the picture goes by the XML's own name."""
    objects = [
        ("person", (1, 1, 80, 48), 0),
        ("dog", (5, 6, 7, 8), 1),
        ("person", (11, 21, 30, 40), 1),
    ]
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "one.xml").write_text(voc_xml(objects, "nonsense.xml"))
    (tmp_path / "A" / "two.xml").write_text(voc_xml([], r"C:\data\other.png", None))
    write_picture(tmp_path / "P" / "one.JPG", (48, 80))
    write_picture(tmp_path / "P" / "other.png", (20, 30))
    dataset = read_voc_xml(tmp_path / "A", tmp_path / "P", {"human": "person"})
    one, two = dataset.samples
    assert one.image_path.name == "one.JPG" and two.image_path.name == "other.png"
    assert one.boxes_xyxy_px.tolist() == [[0, 0, 80, 48], [10, 20, 30, 40]]
    assert one.ignore.tolist() == [False, True]
    assert one.size_hw == (48, 80) and two.size_hw is None
    assert dataset.class_names == ("background", "human")
    assert dataset.report.counts == {"object 'dog': not asked for": 1}
    assert read_voc_xml(tmp_path / "A", tmp_path / "P").class_names == (
        "background",
        "dog",
        "person",
    )


def test_voc_bad_files_are_skipped_and_named(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<annotation><object></annotation>")
    (tmp_path / "b.xml").write_text(voc_xml([("head", (1, 2, "x", 4), 0)]))
    (tmp_path / "c.xml").write_text(voc_xml([("head", (1, 2, "", 4), 0)]))
    (tmp_path / "d.xml").write_text(voc_xml([("head", (1, 2, 3, 4), 0)]).replace("80<", "inf<"))
    (tmp_path / "e.xml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "good.xml").write_text(voc_xml([("head", (1, 2, 3, 4), 0)]))
    dataset = read_voc_xml(tmp_path, ROOT)
    assert [sample.size_hw for sample in dataset.samples] == [None, (48, 80)]
    assert dataset.report.counts == {
        "annotation file not readable: skipped": 4,
        "image whose annotation has no usable size: its own is taken": 1,
    }
    assert dataset.report.lines()[0].startswith(
        "4 x annotation file not readable: skipped (first: a.xml: mismatched tag"
    )
    with pytest.raises(InputError, match=r"holds no \.xml files"):
        read_voc_xml(tmp_path / "nowhere", ROOT)


def _coco(path: Path, **changes: object) -> Path:
    record: dict[str, object] = {
        "categories": [{"id": 7, "name": "person"}, {"id": 3, "name": "head"}],
        "images": [
            {"id": 1, "file_name": "a/1.jpg", "height": 48, "width": 80},
            {"id": 2, "file_name": "2.jpg", "height": 30, "width": 20, "labeled_category_ids": [3]},
            {"id": 5, "file_name": "5.jpg"},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 30, 40], "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 1},
            {"id": 3, "image_id": 1, "category_id": 3, "bbox": [2, 2, 3, 4], "ignore": 1},
            {"id": 4, "image_id": 2, "category_id": 3, "bbox": [0.5, 1, 4, 8]},
            {"id": 5, "image_id": 99, "category_id": 3, "bbox": [1, 2, 3, 4]},
        ],
        **changes,
    }
    path.write_text(json.dumps(record))
    return path


def test_coco_crowd_ignore_and_labelled_categories(tmp_path: Path) -> None:
    dataset = read_coco_json(_coco(tmp_path / "t.json"), ROOT)
    assert dataset.class_names == ("background", "person", "head")
    one, two, five = dataset.samples
    assert one.image_path == ROOT / "a/1.jpg" and one.size_hw == (48, 80)
    assert one.boxes_xyxy_px.tolist() == [[1, 2, 31, 42], [1, 2, 4, 6], [2, 2, 5, 6]]
    assert one.class_ids.tolist() == [1, 1, 2]
    assert one.ignore.tolist() == [False, True, True]
    assert one.labeled_class_ids == (1, 2)
    assert two.labeled_class_ids == (2,) and two.size_hw == (30, 20)
    assert len(five) == 0 and five.size_hw is None
    assert dataset.report.counts == {"box of a picture that is not listed: dropped": 1}


def test_coco_chosen_classes_under_our_names(tmp_path: Path) -> None:
    dataset = read_coco_json(_coco(tmp_path / "t.json"), ROOT, {"face": "head"})
    assert dataset.class_names == ("background", "face")
    assert [len(sample) for sample in dataset.samples] == [1, 1, 0]
    with pytest.raises(InputError, match=r"t\.json has no category dog; it has person, head"):
        read_coco_json(tmp_path / "t.json", ROOT, {"dog": "dog"})


def test_coco_classes_that_no_picture_labels_are_left_out_when_opened(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.jpg", (48, 80))
    images = [{"id": 1, "file_name": "1.jpg", "labeled_category_ids": [3]}]
    path = _coco(tmp_path / "t.json", images=images)
    assert read_coco_json(path, tmp_path).class_names == ("background", "person", "head")
    assert open_dataset(str(path)).class_names == ("background", "head")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"is no COCO annotation: not JSON \(Expecting property name"),
        (
            "[" * 99 + "]" * 99,
            r"is no COCO annotation: not JSON \(its values are nested more than 64 deep\)",
        ),
        ("1" * 5000, r"is no COCO annotation: not JSON \(.*digits"),
        ("[]", "is no COCO annotation: expected a JSON object with images"),
        ('{"images": []}', "is no COCO annotation: expected a JSON object with images"),
        ('{"images": 3, "annotations": [], "categories": []}', "is no COCO annotation: expected a"),
    ],
)
def test_coco_refuses_what_is_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_coco_json(path, ROOT)


@pytest.mark.parametrize("bbox", [[1, 2, 3], None, "1234x", {"x": 1}])
def test_coco_refuses_a_box_that_is_none(tmp_path: Path, bbox: object) -> None:
    items = [{"id": 44, "image_id": 1, "category_id": 3, "bbox": bbox}]
    with pytest.raises(InputError, match=r"annotation 44: bbox .* expected x, y, width, height"):
        read_coco_json(_coco(tmp_path / "t.json", annotations=items), ROOT)


@pytest.mark.parametrize("read", [read_wider_face, read_brainwash, read_crowdhuman, read_coco_json])
def test_files_that_cannot_be_read(tmp_path: Path, read) -> None:
    with pytest.raises(InputError, match=r"cannot read .*missing"):
        read(tmp_path / "missing", ROOT)
    with pytest.raises(InputError, match="cannot read"):
        read(tmp_path, ROOT)
    (tmp_path / "binary").write_bytes(b"\xff\xd8\xff\x00")
    with pytest.raises(InputError, match="binary: expected UTF-8 text"):
        read(tmp_path / "binary", ROOT)


def test_real_crowdhuman(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "orig_format" / "crowdhuman_odgt" / "test_annotation_train.odgt"
    dataset = read_crowdhuman(path, tmp_path)
    (sample,) = dataset.samples
    assert (sample.class_ids == 1).sum() == 7 and sample.ignore.sum() == 2
    write_picture(sample.image_path, (1383, 2048))
    (clean,) = cleaned(dataset).samples
    assert len(clean) == 14
    assert (clean.boxes_xyxy_px[:, 3] <= 1383).all()


def test_real_voc_and_scut(shared_data: Path) -> None:
    for folder, name in (("voc_xml", "person"), ("scut_head_xml", "head")):
        root = shared_data / "orig_format" / folder
        dataset = cleaned(read_voc_xml(root / "Annotations", root / "JPEGImages"))
        assert len(dataset.samples) == 15 and dataset.num_boxes > 40
        assert dataset.class_names == ("background", name)
        assert set(dataset.report.counts) <= {"box partly outside the picture: clipped"}


def test_real_coco(shared_data: Path) -> None:
    root = shared_data / "orig_format" / "coco_json"
    path = root / "instances_train2017.json"
    dataset = cleaned(read_coco_json(path, root / "train2017", {"person": "person"}))
    items = json.loads(path.read_text())["annotations"]
    persons = [item for item in items if item["category_id"] == 1]
    assert dataset.num_boxes == sum(not item["iscrowd"] for item in persons)
    assert sum(sample.ignore.sum() for sample in dataset.samples) == sum(
        item["iscrowd"] for item in persons
    )
    assert any(item["iscrowd"] for item in persons)
