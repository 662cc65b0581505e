"""Probabilities and decoded boxes are told from raw heads by the outputs of one image."""

import contextlib

import numpy as np
import pytest
from tiny_detector import SPEC, FakeBackend, outputs_with

from persondet.anchors import anchors_cxcywh_norm
from persondet.boxes import xyxy_from_cxcywh
from persondet.errors import InputError
from persondet.images import read_image_rgb
from persondet.models import resolve_model
from runtime.backend import open_backend
from runtime.detector import Detector
from runtime.raw_heads import decoding_of, probabilities_of

RNG = np.random.default_rng(0)
PICTURE = np.zeros((60, 90, 3), np.uint8)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_softmax_of_float_and_8_bit_outputs() -> None:
    scores = _softmax(RNG.normal(0, 4, (3860, 2)).astype(np.float32))
    assert "every row sums to 1" in probabilities_of(scores)
    assert "every row sums to 1" in probabilities_of(np.rint(scores * 255) / np.float32(255))


def test_logits_that_happen_to_sum_to_1_in_many_rows() -> None:
    scores = _softmax(RNG.normal(0, 4, (3860, 2)).astype(np.float32))
    scores[1234] = (0.2, 0.7)
    assert "every row" not in probabilities_of(scores)
    scores[1234] = (-0.2, 1.2)  # sums to 1, but is no probability
    assert probabilities_of(scores) == ""


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_network_that_gives_one_number_is_not_judged(value) -> None:
    assert probabilities_of(np.full((3860, 2), value, np.float32)) == ""


def test_sigmoid() -> None:
    scores = 1 / (1 + np.exp(-RNG.normal(0, 4, (1917, 2)).astype(np.float32)))
    assert "sigmoid is inside" in probabilities_of(scores)


@pytest.mark.parametrize("scale", [1, 300])
def test_decoded_boxes(scale) -> None:
    anchors = anchors_cxcywh_norm(SPEC)
    offsets = RNG.normal(0, 1, (len(anchors), 4)).astype(np.float32)
    centres = offsets[:, :2] * 0.1 * anchors[:, 2:] + anchors[:, :2]
    decoded = np.hstack([centres, np.exp(offsets[:, 2:] * 0.2) * anchors[:, 2:]])
    corners = xyxy_from_cxcywh(decoded.astype(np.float32))
    assert decoding_of(offsets, anchors) == ""
    assert "centre and size" in decoding_of(decoded * scale, anchors)
    assert "corners" in decoding_of(corners * scale, anchors)
    assert "corners" in decoding_of(corners[:, [1, 0, 3, 2]] * scale, anchors)  # y first
    assert decoding_of(np.zeros_like(offsets), anchors) == ""
    assert decoding_of(np.abs(offsets), anchors) == ""


def test_the_first_image_is_judged_and_no_other() -> None:
    raw = outputs_with({3: (0, 9, 0)})
    cooked = {**raw, "scores": _softmax(raw["scores"][0])[None]}
    cooked["scores"] = 0.9 * cooked["scores"] + np.float32(0.1 / 3)
    with pytest.raises(InputError, match=r"fake\.onnx: its scores are .* expected raw heads"):
        Detector(FakeBackend(cooked))(PICTURE)
    backend = FakeBackend(raw)
    detector = Detector(backend)
    detector(PICTURE)
    backend.outputs = cooked
    detector(PICTURE)


@pytest.mark.parametrize("name", ["head", "person", "ssdlite-mb2-person"])
def test_trained_networks_are_not_refused(name, astronaut) -> None:
    noise = RNG.integers(0, 256, (240, 320, 3), np.uint8)
    with contextlib.closing(open_backend(resolve_model(name))) as backend:
        for image_rgb in (PICTURE, PICTURE + 255, noise, read_image_rgb(astronaut)):
            Detector(backend)(image_rgb)
