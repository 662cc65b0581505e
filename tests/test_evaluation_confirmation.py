"""The HTP beside the ONNX that stands for it, on a sample of the images."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from tiny_detector import SPEC, FakeBackend, outputs_with

from benchmarks.evaluation.confirmation import Confirmation, OutputAgreement, confirm, sample_of
from benchmarks.evaluation.truth import Truth, TruthPicture
from persondet.errors import InputError

ANCHOR = (1 * 5 + 2) * 2 + 1  # 24 x 16 around (40, 24) in an input of 80 x 48
PERSON_XYXY = (70, 100 / 3, 130, 200 / 3)  # that anchor in an image of 200 x 100


@pytest.fixture
def truth(tmp_path):
    """Five images of 200 x 100 with a person in the middle, but for the last."""
    pictures = []
    for index in range(5):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), np.full((100, 200, 3), 40 * index, np.uint8))
        boxes = np.array([PERSON_XYXY] * (index < 4), np.float64).reshape(-1, 4)
        ones = np.ones(len(boxes), np.int64)
        areas = ones * 2000.0
        pictures.append(TruthPicture(path, boxes, ones, ones > 1, areas, (1,), (100, 200)))
    return Truth("data", SPEC.class_names, (1,), tuple(pictures))


def backend(name, logits, change=0.0):
    outputs = outputs_with({ANCHOR: (0, logits, -9)})
    outputs["scores"][0, 0, 0] += change
    outputs["boxes"][0, 0] = 0.5
    model = FakeBackend(outputs)
    model.name = name
    return model


def test_models_that_agree(truth):
    steps = []
    result = confirm(
        truth,
        qdq=backend("m.onnx", 4),
        dlc=backend("m.dlc", 4),
        reference=backend("float.onnx", 4, change=0.1),
        count=3,
        advance=lambda: steps.append(1),
    )
    assert (result.images, result.boxes, len(steps)) == (3, 2, 3)  # the first, middle and last
    assert (result.qdq_ap50, result.htp_ap50) == (pytest.approx(1), pytest.approx(1))
    assert (result.same_scores, result.near_scores) == (1, 1)
    reference = backend("", 4, change=0.1).outputs["scores"].astype(np.float64)
    expected = 10 * np.log10((reference**2).sum() / 0.1**2)
    assert result.outputs["scores"].qdq_db == pytest.approx(expected, abs=1e-3)
    assert result.outputs["scores"].difference_db == 0
    assert result.outputs["boxes"].qdq_db == np.inf
    assert result.problems() == []
    text = "\n".join(result.lines())
    assert "checked on 3 images with 2 boxes, taken evenly: m.dlc on the HTP, m.onnx in" in text
    assert "100.0 % the same on both" in text
    assert "AP50: HTP 1.000, ONNX 1.000" in text
    record = json.loads(json.dumps(result.record(), allow_nan=False))
    assert record.keys() == {
        *("qdq", "dlc", "device", "images", "boxes", "outputs", "same_scores", "near_scores"),
        *("qdq_ap50", "htp_ap50", "problems"),
    }
    assert record["outputs"]["boxes"] == {"qdq_db": None, "htp_db": None}


def test_a_model_that_the_htp_runs_otherwise(truth):
    """It finds nothing there: both figures say so."""
    result = confirm(
        truth,
        qdq=backend("m.onnx", 4, change=0.01),
        dlc=backend("m.dlc", -9),
        reference=backend("float.onnx", 4),
        count=5,
    )
    assert (result.qdq_ap50, result.htp_ap50) == (pytest.approx(1), 0)
    ap50, scores = result.problems()
    assert "m.dlc on the HTP has AP50 0.000 on 5 images, m.onnx has 1.000" in ap50
    assert "differ by over 0.02" in ap50
    assert "scores of m.dlc on the HTP are" in scores
    assert "differ by over 3 dB" in scores
    assert result.same_scores == pytest.approx(1 - 2 / (38 * 3))


def test_scores_one_step_apart(truth):
    """Multiples of 0.5: one score is one step off, one is two."""
    qdq, dlc = backend("m.onnx", 4), backend("m.dlc", 4)
    for model, values in ((qdq, (1.0, 1.5)), (dlc, (1.5, 2.5))):
        model.outputs["scores"][0, 1, 1:] = values
    result = confirm(truth, qdq=qdq, dlc=dlc, reference=None, count=2)
    assert result.same_scores == pytest.approx(1 - 2 / (38 * 3))
    assert result.near_scores == pytest.approx(1 - 1 / (38 * 3))


def test_without_the_float_model_and_without_a_box(truth):
    empty = dataclasses.replace(truth, pictures=truth.pictures[4:])
    result = confirm(
        empty, qdq=backend("m.onnx", 4), dlc=backend("m.dlc", -9), reference=None, count=20
    )
    assert (result.images, result.outputs, result.htp_ap50) == (1, {}, None)
    assert result.problems() == []
    assert "SQNR against float: not known" in "\n".join(result.lines())
    assert "AP50: not defined" in result.lines()[-1]


def confirmation(ap50=(0.5, 0.5), sqnr=(30.0, 30.0)):
    return Confirmation(
        qdq="m.onnx",
        dlc="m.dlc",
        device="nothing",
        images=2,
        boxes=2,
        outputs={"scores": OutputAgreement(*sqnr)},
        same_scores=1.0,
        near_scores=1.0,
        qdq_ap50=ap50[0],
        htp_ap50=ap50[1],
    )


@pytest.mark.parametrize(
    ("ap50", "sqnr", "problems"),
    [
        ((0.5, 0.52), (30, 30), 0),  # 0.020000000000000018 in floating point
        ((0.52, 0.5), (30, 27), 0),
        ((0.52001, 0.5), (30, 30), 1),
        ((0.5, 0.5), (30.3, 27.3), 0),
        ((0.5, 0.5), (27.3, 30.3001), 1),
        ((0.6, 0.5), (30, 20), 2),
        ((0.5, 0.5), (np.inf, np.inf), 0),
        ((0.5, 0.5), (-np.inf, -np.inf), 0),
        ((0.5, 0.5), (np.inf, 80), 1),
    ],
)
def test_what_may_differ_exactly(ap50, sqnr, problems):
    assert len(confirmation(ap50, sqnr).problems()) == problems


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [0]), (2, [0, 4]), (3, [0, 2, 4]), (9, range(5))]
)
def test_the_sample_is_even(truth, count, chosen):
    names = [picture.path.name for picture in sample_of(truth, count).pictures]
    assert names == [f"{index}.png" for index in chosen]


def test_models_of_different_anchors_are_refused(truth):
    other = backend("m.dlc", 4)
    other.spec = dataclasses.replace(SPEC, variances=(0.2, 0.2))
    with pytest.raises(InputError, match=r"m\.onnx and m\.dlc cannot be compared: variances"):
        confirm(truth, qdq=backend("m.onnx", 4), dlc=other, reference=None, count=1)
