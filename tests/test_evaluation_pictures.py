"""Curves and contact sheets: written where they should be, showing what they should."""

import dataclasses

import cv2
import numpy as np
import pytest
from evaluation_data import NAMES, found_picture, random_data, truth_picture

from benchmarks.evaluation.contact_sheet import draw_faults
from benchmarks.evaluation.evaluation import evaluate
from benchmarks.evaluation.faults import Faults, faults
from benchmarks.evaluation.plots import draw_curves
from benchmarks.evaluation.truth import Truth
from persondet.errors import InputError
from persondet.images import read_image_rgb

BOX, OTHER, FALSE_BOX = (10, 10, 50, 40), (60, 10, 80, 40), (120, 10, 150, 80)


@pytest.fixture
def truth(tmp_path):
    """Two pictures: a box that is found, one that is not, one ignored; then one missed at the
    edge."""
    pictures = [
        truth_picture([BOX, OTHER, (0, 50, 60, 90)], ignored=[False, False, True]),
        truth_picture([(140, 70, 160, 90)]),
    ]
    for index, picture in enumerate(pictures):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), np.full((90, 160, 3), 100, np.uint8))
        pictures[index] = dataclasses.replace(picture, path=path)
    return Truth("data", NAMES, (1,), tuple(pictures))


FOUND = [
    found_picture(
        [FALSE_BOX, BOX, (5, 55, 50, 85), OTHER, BOX],
        [0.9, 0.8, 0.7, 0.4, 0.1],
        classes=[1, 1, 1, 1, 2],
    ),
    found_picture([(0, 0, 20, 20), (0, 0, 9, 9)], [0.95, 0.5]),
]


def test_faults_worst_first(truth):
    worst = faults(truth, FOUND, (180, 160), 0.5)
    assert [(fault.picture, fault.box_xyxy_px.tolist()) for fault in worst.misses] == [
        (0, [60, 10, 80, 40]),  # 20 pixels wide; twice as high after stretching
        (1, [140, 70, 160, 90]),
    ]
    assert [fault.weight for fault in worst.misses] == [20, 20]
    assert [round(fault.weight, 2) for fault in worst.false_alarms] == [0.95, 0.9, 0.5]
    assert len(faults(truth, FOUND, (180, 160), 0.4).misses) == 1
    assert len(faults(truth, FOUND, (180, 160), 0.96).misses) == 3


def test_contact_sheets(truth, tmp_path):
    worst = faults(truth, FOUND, (90, 160), 0.5)
    drawn = draw_faults(worst, truth, FOUND, 0.5, tmp_path / "new")
    assert [path.name for path in drawn] == ["misses.jpg", "false_alarms.jpg"]
    for path in drawn:
        sheet = read_image_rgb(path).astype(int)
        assert sheet.shape[1] == 5 * 246
        red = (sheet[..., 0] > 180) & (sheet[..., 1] < 80) & (sheet[..., 2] < 80)
        assert red.sum() > 200


def test_many_faults_fill_the_sheet_and_no_more(truth, tmp_path):
    many = faults(truth, FOUND, (90, 160), 0.5)
    many = Faults(many.misses * 20, many.false_alarms * 2)
    shapes = [read_image_rgb(p).shape for p in draw_faults(many, truth, FOUND, 0.5, tmp_path)]
    assert shapes[0][0] > 4 * 240
    assert shapes[1][0] < 3 * 240 + 200


def test_no_faults_no_sheets(truth, tmp_path):
    assert draw_faults(Faults((), ()), truth, FOUND, 0.5, tmp_path / "new") == []


@pytest.mark.parametrize("classes", [(1,), (1, 2)])
def test_curves(tmp_path, classes):
    data, found = random_data(1)
    data = dataclasses.replace(data, evaluated_class_ids=classes)
    evaluation = evaluate(data, found, (90, 160), 0.5, resamples=20)
    drawn = draw_curves(evaluation, "model", tmp_path / "new")
    assert [p.name for p in drawn] == ["precision_recall.png", "miss_rate.png", "thresholds.png"]
    for path in drawn:
        picture = read_image_rgb(path)
        assert picture.shape == (600, 840, 3)
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(
        path.name for path in drawn
    )


@pytest.mark.parametrize("found", [found_picture([], []), found_picture([BOX], [0.9])])
def test_curves_of_nothing_and_of_everything(tmp_path, found):
    data = Truth("data", NAMES, (1,), (truth_picture([BOX]),))
    evaluation = evaluate(data, [found], (90, 160), 0.5, resamples=5)
    assert len(draw_curves(evaluation, "model", tmp_path)) == 3


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    data, found = random_data(1)
    evaluation = evaluate(data, found, (90, 160), 0.5, resamples=5)
    with pytest.raises(InputError, match="cannot write"):
        draw_curves(evaluation, "model", tmp_path / "file")
