"""Detector: stages joined, thresholds of zero, classes, pictures of every shape."""

import dataclasses

import numpy as np
import pytest
from tiny_detector import SPEC, FakeBackend, outputs_with, with_format

from persondet.anchors import anchors_cxcywh_norm
from persondet.errors import InputError, PersondetError
from persondet.zoo import detector_spec
from runtime.detector import Detector

GOLDEN = "ssdlite_mobilenet_v2_person_golden.npz"
PICTURE = np.zeros((100, 200, 3), np.uint8)


def test_a_box_in_pixels_of_the_picture():
    """Anchor 1 of the cell in row 1, column 2: 24 x 16 around (40, 24) in an input of 80 x 48."""
    anchor = (1 * 5 + 2) * 2 + 1
    found = Detector(FakeBackend(outputs_with({anchor: (0, 0, 9)})))(PICTURE)
    sides = (28 / 80 * 200, 16 / 48 * 100, 52 / 80 * 200, 32 / 48 * 100)
    np.testing.assert_allclose(found.boxes_xyxy_px, [sides], rtol=1e-6)
    assert found.class_ids.tolist() == [2]


def test_the_stages_one_by_one_are_the_whole():
    backend = FakeBackend(outputs_with({3: (0, 9, 0), 20: (0, 0, 5), 37: (0, 3, 0)}))
    detector = Detector(backend)
    picture = np.random.default_rng(0).integers(0, 256, (33, 97, 3), np.uint8)
    tensor = detector.preprocess(picture)
    candidates = detector.decode(detector.infer(tensor))
    found = detector.nms(candidates, picture.shape[:2])
    whole = detector(picture)
    np.testing.assert_array_equal(found.boxes_xyxy_px, whole.boxes_xyxy_px)
    np.testing.assert_array_equal(found.scores, whole.scores)
    np.testing.assert_array_equal(backend.fed[0], backend.fed[1])
    assert len(whole) == 3


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 500), (700, 2), (48, 80)])
def test_boxes_stay_in_pictures_of_every_shape(size_hw):
    rng = np.random.default_rng(0)
    outputs = {
        "scores": rng.normal(0, 3, (1, 38, 3)).astype(np.float32),
        "boxes": rng.normal(0, 5, (1, 38, 4)).astype(np.float32),
    }
    found = Detector(FakeBackend(outputs), 0.0)(np.zeros((*size_hw, 3), np.uint8))
    x1, y1, x2, y2 = found.boxes_xyxy_px.T
    assert (x1 >= 0).all() and (y1 >= 0).all()
    assert (x2 <= size_hw[1]).all() and (y2 <= size_hw[0]).all()
    assert ((x2 > x1) & (y2 > y1)).all()


def test_none_is_the_specs_value_and_zero_is_a_threshold():
    outputs = outputs_with({3: (0, 9, 0)})
    spec = dataclasses.replace(SPEC, score_threshold=0.4, nms_iou=0.3, top_k=7)
    detector = Detector(FakeBackend(outputs, spec))
    assert (detector.score_threshold, detector.nms_iou, detector.top_k) == (0.4, 0.3, 7)
    detector = Detector(FakeBackend(outputs, spec), 0.0, 0.0, 1)
    assert (detector.score_threshold, detector.nms_iou, detector.top_k) == (0.0, 0.0, 1)
    assert len(Detector(FakeBackend(outputs), 0.0, nms_iou=1.0)(PICTURE)) == 2 * SPEC.num_anchors


def test_top_k_keeps_the_best():
    outputs = outputs_with({anchor: (0, anchor / 10, -9) for anchor in range(38)})
    found = Detector(FakeBackend(outputs), 0.1, nms_iou=1.0, top_k=3)(PICTURE)
    everything = Detector(FakeBackend(outputs), 0.1, nms_iou=1.0)(PICTURE)
    assert found.scores.tolist() == everything.scores[:3].tolist()


def test_the_classes_asked_for():
    outputs = outputs_with({3: (0, 9, 0), 20: (0, 0, 5)})
    for classes, expected in ((["head"], [2]), (["person"], [1]), (["head", "person"], [1, 2])):
        found = Detector(FakeBackend(outputs), classes=classes)(PICTURE)
        assert found.class_ids.tolist() == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 1.5}, "score threshold: expected a number from 0 to 1, got 1.5"),
        ({"score_threshold": float("nan")}, "score threshold: .*got nan"),
        ({"nms_iou": -0.1}, "NMS IoU: .*got -0.1"),
        ({"top_k": 0}, "top-k: expected at least 1, got 0"),
        ({"classes": ["dog"]}, "no class dog; its classes: person, head"),
        ({"classes": ["background"]}, "no class background"),
        ({"classes": []}, "no class"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Detector(FakeBackend(outputs_with({})), **options)


def test_a_broken_model_is_named():
    outputs = outputs_with({})
    outputs["scores"][0, 0, 0] = np.nan
    with pytest.raises(PersondetError, match=r"fake\.onnx: output 'scores' holds 1 values"):
        Detector(FakeBackend(outputs))(PICTURE)


def test_a_grey_array_is_refused():
    with pytest.raises(InputError, match=r"expected a picture of shape \(H, W, 3\)"):
        Detector(FakeBackend(outputs_with({})))(PICTURE[..., 0])


def test_the_backend_gets_what_its_format_says():
    for input_format in ("float-nhwc", "uint8-nhwc"):
        spec = with_format(input_format)
        backend = FakeBackend(outputs_with({}), spec)
        Detector(backend)(PICTURE)
        assert backend.fed[0].shape == spec.input_shape
        assert backend.fed[0].dtype == spec.input_dtype


def test_the_golden_picture_of_the_original_detector(shared_weights):
    """Anchors, box code, scores and suppression as the TF Object Detection API did them."""
    golden = np.load(shared_weights / GOLDEN)
    spec = detector_spec("ssdlite-mb2-person")
    yxyx = golden["anchors_ymin_xmin_ymax_xmax"]
    sides = yxyx[:, 2:] - yxyx[:, :2]
    centres = (yxyx[:, 2:] + yxyx[:, :2]) / 2
    expected = np.hstack([centres[:, ::-1], sides[:, ::-1]])
    np.testing.assert_allclose(anchors_cxcywh_norm(spec), expected, atol=1e-4)
    outputs = {
        "scores": golden["class_logits"],
        "boxes": golden["box_encodings"][..., [1, 0, 3, 2]],
    }
    detector = Detector(FakeBackend(outputs, spec), score_threshold=0.0)
    found = detector(golden["image_rgb_uint8"])
    np.testing.assert_allclose(found.scores, golden["det_scores"][0], atol=1e-6)
    boxes = golden["det_boxes"][0][:, [1, 0, 3, 2]] * 300
    np.testing.assert_allclose(found.boxes_xyxy_px, boxes, atol=1e-3)
    tensor = detector.preprocess(golden["image_rgb_uint8"])
    np.testing.assert_allclose(tensor.transpose(0, 2, 3, 1), golden["preprocessed"], atol=1e-6)
