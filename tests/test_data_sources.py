"""Data sets as a command line or a TOML file names them, and several as one."""

import json
import tomllib
from pathlib import Path

import pytest
from data_files import voc_xml, write_picture

from persondet.data.merging import merged, with_classes
from persondet.data.samples import DataSet, make_sample
from persondet.data.sources import open_dataset, open_datasets, parse_source
from persondet.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One picture, annotated in every format."""
    write_picture(tmp_path / "images" / "one.jpg", (48, 80))
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "one.xml").write_text(voc_xml([("person", (1, 2, 30, 40), 0)]))
    (tmp_path / "wider.txt").write_text("one.jpg\n1\n1 2 30 40 0 0 0 0 0 0\n")
    (tmp_path / "brain.idl").write_text('"one.jpg": (1, 2, 30, 40).')
    boxes = {"hbox": [1, 2, 30, 40], "fbox": [1, 2, 40, 40], "vbox": [1, 2, 50, 40]}
    record = {"ID": "one", "gtboxes": [{"tag": "person", **boxes}]}
    (tmp_path / "crowd.odgt").write_text(json.dumps(record))
    coco = {
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "head"}],
        "images": [{"id": 1, "file_name": "one.jpg", "labeled_category_ids": [2]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 30, 40]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    return tmp_path


@pytest.mark.parametrize(
    ("source", "names", "width"),
    [
        ("coco:coco.json:images", ("head",), 30),
        ("coco:coco.json:images:face=head", ("face",), 30),
        ("voc:xml:images", ("person",), 30),
        ("wider:wider.txt:images", ("head",), 30),
        ("wider:wider.txt:images:face", ("face",), 30),
        ("brainwash:brain.idl:images", ("head",), 29),
        ("crowdhuman:crowd.odgt:images", ("head", "person"), 30),
        ("crowdhuman:crowd.odgt:images:person", ("person",), 40),
        ("crowdhuman:crowd.odgt:images:person=vbox, head", ("person", "head"), 50),
    ],
)
def test_every_format_opens(folder: Path, source: str, names: tuple, width: int) -> None:
    dataset = open_dataset(source, folder)
    assert dataset.class_names == ("background", *names)
    (sample,) = dataset.samples
    assert sample.size_hw == (48, 80)
    x1, _, x2, _ = sample.boxes_xyxy_px[0]
    assert x2 - x1 == width
    assert sample.labeled_class_ids == tuple(range(1, len(names) + 1))


def test_a_toml_table_says_the_same(folder: Path) -> None:
    text = 'data = [{format = "crowdhuman", annotations = "crowd.odgt", images = "images", '
    table = tomllib.loads(text + 'classes = ["person=vbox", "head"]}]')["data"][0]
    as_text = "crowdhuman:crowd.odgt:images:person=vbox,head"
    assert parse_source(table, folder) == parse_source(as_text, folder)
    absolute = {**table, "annotations": str(folder / "crowd.odgt")}
    assert parse_source(absolute, Path("elsewhere")).annotations == folder / "crowd.odgt"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("train", r"data 'train': expected FORMAT:ANNOTATIONS:IMAGES\[:CLASSES\], such"),
        ("coco:a.json", "expected FORMAT:ANNOTATIONS"),
        ("coco:a.json:", "expected FORMAT:ANNOTATIONS"),
        ("coco:a:b:c:d", "a path with a colon goes into a TOML table"),
        ("yolo:a:b", "expected a format of coco, voc, crowdhuman, wider, brainwash"),
        ("coco:a:b:x,", "'' is no class name"),
        ("coco:a:b:background", "'background' is no class name"),
        ("coco:a:b:x,x", "expected every name once"),
        ("coco:a:b:x=y,z=y", "expected every name once"),
        ("wider:a:b:head,person", "wider has one class; got head, person"),
        ({"format": "coco", "annotations": "a"}, "images is missing"),
        ({"format": "coco", "annotations": "a", "images": "b", "root": "c"}, "unknown root"),
        ({"format": "coco", "annotations": 3, "images": "b"}, "annotations is 3, expected a text"),
        (
            {"format": "coco", "annotations": "a", "images": "b", "classes": "head"},
            'classes "head": expected a list of names',
        ),
    ],
)
def test_what_cannot_be_understood(source, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_source(source)


def _dataset(name: str, names: tuple[str, ...], boxes: list[int], labeled: list[int]) -> DataSet:
    rows = [((0, 0, 10 * class_id, 20), class_id, class_id == 2) for class_id in boxes]
    dataset = DataSet(name, ("background", *names), (make_sample(Path(name), rows, labeled),))
    dataset.report.add("box lost", name)
    return dataset


def test_merging_goes_by_name() -> None:
    first = _dataset("a", ("head", "hat"), [1, 2], [1, 2])
    second = _dataset("b", ("person", "head"), [1, 2, 2], [1])
    both = merged([first, second])
    assert both.name == "a + b"
    assert both.class_names == ("background", "head", "hat", "person")
    assert [s.class_ids.tolist() for s in both.samples] == [[1, 2], [3, 1, 1]]
    assert [s.labeled_class_ids for s in both.samples] == [(1, 2), (3,)]
    assert both.report.counts == {"box lost": 2} and both.report.first == {"box lost": "a"}
    assert merged([first]).samples[0].class_ids.tolist() == [1, 2]


def test_classes_are_selected_and_ordered() -> None:
    both = merged(
        [_dataset("a", ("head", "hat"), [1, 2], [1, 2]), _dataset("b", ("cat",), [1], [1])]
    )
    selected = with_classes(both, ["person", "hat", "head"])
    assert selected.class_names == ("background", "person", "hat", "head")
    (sample,) = selected.samples
    assert sample.class_ids.tolist() == [3, 2]
    assert sample.ignore.tolist() == [False, True]
    assert sample.labeled_class_ids == (2, 3)
    assert selected.report.counts["picture that labels none of the classes: left out"] == 1
    (heads,) = with_classes(both, ["head"]).samples
    assert heads.boxes_xyxy_px.tolist() == [[0, 0, 10, 20]] and heads.labeled_class_ids == (1,)
    with pytest.raises(InputError, match="has none of the classes dog; it has head, hat, cat"):
        with_classes(both, ["dog"])


def test_several_open_as_one(folder: Path) -> None:
    sources = ["voc:xml:images", "coco:coco.json:images"]
    dataset = open_datasets(sources, ["head", "person"], folder)
    assert [s.labeled_class_ids for s in dataset.samples] == [(2,), (1,)]
    assert open_datasets(sources, base=folder).class_names == ("background", "person", "head")
    assert len(open_datasets(sources, ["head"], folder).samples) == 1


def test_the_shared_sets_train_together(shared_data: Path) -> None:
    sources = [f"coco:{name}/val.json:." for name in ("scut_head_b", "coco_person", "voc_person")]
    dataset = open_datasets(sources, ["person", "head"], shared_data)
    assert len(dataset.samples) == 97 + 35 + 150
    assert {sample.labeled_class_ids for sample in dataset.samples} == {(1,), (2,)}
    assert sum(len(sample) for sample in dataset.samples) == 1311 + 89 + 209
    assert not dataset.report.counts
