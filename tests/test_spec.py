"""The spec: round trips, and files that were edited by hand."""

import dataclasses
import json

import pytest

from persondet import zoo
from persondet.errors import InputError
from persondet.spec import DetectorSpec, spec_from_dict, spec_from_json, spec_to_dict, spec_to_json


@pytest.fixture
def values():
    """The JSON-ready values of a spec."""
    return json.loads(spec_to_json(zoo.detector_spec("rfb-tiny-mb2-ssd-c32")))


@pytest.mark.parametrize("name", zoo.network_names())
def test_json_round_trip(name):
    spec = dataclasses.replace(
        zoo.detector_spec(name, class_names=["tête", "b"]), input_format="uint8-nhwc"
    )
    again = spec_from_json(spec_to_json(spec))
    assert again == spec
    assert hash(again) == hash(spec)
    assert spec_from_dict(spec_to_dict(spec)) == spec


@pytest.mark.parametrize(
    ("input_format", "shape", "dtype"),
    [
        ("float-nchw", (1, 3, 240, 320), "float32"),
        ("float-nhwc", (1, 240, 320, 3), "float32"),
        ("uint8-nhwc", (1, 240, 320, 3), "uint8"),
    ],
)
def test_input(values, input_format, shape, dtype):
    spec = spec_from_dict({**values, "input_format": input_format})
    assert spec.input_shape == shape
    assert spec.input_dtype == dtype


def test_left_out_fields_take_their_defaults(values):
    for name in ("score_threshold", "top_k", "variances", "mean_rgb"):
        del values[name]
    assert spec_from_dict(values) == zoo.detector_spec("rfb-tiny-mb2-ssd-c32")


def test_earlier_releases_read_a_spec_that_needs_no_newer_field(values):
    assert set(values) == {
        *("spec_version", "network", "width_mult", "class_names", "input_size_hw", "levels"),
        *("mean_rgb", "std_rgb", "input_format", "clip_anchors", "variances", "score_function"),
        *("score_threshold", "nms_iou", "top_k", "input_name", "scores_name", "boxes_name"),
    }
    spec = zoo.detector_spec("mb2-ssd-lite-f19", backbone_activation="relu")
    assert spec_to_dict(spec)["backbone_activation"] == "relu"
    assert spec_from_json(spec_to_json(spec)) == spec
    own = zoo.detector_spec("mb2-ssd-lite-f19", backbone_activation="relu6")
    assert own == zoo.detector_spec("mb2-ssd-lite-f19")


LEVEL = {"grid_hw": [4, 5], "stride_hw_px": [60, 64], "shapes_wh_px": [[10, 20]]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"input_format": "nchw"}, "input_format 'nchw', expected one of float-nchw"),
        ({"backbone_activation": "swish"}, "backbone_activation 'swish', expected relu or relu6"),
        ({"score_function": None}, "score_function None, expected softmax or sigmoid"),
        ({"class_names": ["background"]}, "expected the background and at least one more"),
        ({"class_names": ["background", 1]}, "expected the background and at least one more"),
        ({"class_names": None}, "invalid detector spec"),
        ({"input_size_hw": [300]}, "input_size_hw .* expected two positive integers"),
        ({"input_size_hw": [300, 0]}, "expected two positive integers"),
        ({"input_size_hw": [300.5, 300]}, "expected two positive integers"),
        ({"input_size_hw": ["300", "300"]}, "expected two positive integers"),
        ({"input_size_hw": 300}, "invalid detector spec"),
        ({"mean_rgb": [1, 2]}, "mean_rgb .* expected three numbers"),
        ({"mean_rgb": [1, 2, float("nan")]}, "mean_rgb .* expected three numbers"),
        ({"std_rgb": [1, 2, 0]}, "std_rgb .* expected three positive numbers"),
        ({"variances": [0.1, -0.2]}, "variances .* expected two positive numbers"),
        ({"width_mult": 0}, "width_mult 0, expected a positive number"),
        ({"width_mult": None}, "width_mult None, expected a positive number"),
        ({"width_mult": 10**400}, "invalid detector spec"),
        ({"score_threshold": 1.5}, "score_threshold 1.5, expected a number from 0 to 1"),
        ({"score_threshold": True}, "score_threshold true"),
        ({"nms_iou": "0.5"}, 'nms_iou "0.5", expected a number from 0 to 1'),
        ({"top_k": 0}, "top_k 0, expected a positive integer"),
        ({"boxes_name": "scores"}, "expected three different names"),
        ({"input_name": ""}, "expected three different names"),
        ({"levels": []}, "no anchor levels"),
        ({"levels": [3]}, "invalid detector spec"),
        ({"levels": [{"grid_hw": [1, 1]}]}, "'stride_hw_px' is missing"),
        ({"levels": [LEVEL, {**LEVEL, "grid_hw": [0, 5]}]}, r"levels\[1\]: grid_hw"),
        ({"levels": [{**LEVEL, "stride_hw_px": [0, 1]}]}, r"levels\[0\]: stride_hw_px"),
        ({"levels": [{**LEVEL, "shapes_wh_px": []}]}, "no shapes in a cell"),
        ({"levels": [{**LEVEL, "shapes_wh_px": [[10, -1]]}]}, "expected a positive width"),
        ({"spec_version": 2}, "spec_version is 2, this release reads 1"),
        ({"colour": "red"}, "unknown fields colour"),
    ],
)
def test_every_bad_field_is_named(values, change, expected):
    with pytest.raises(InputError, match=expected):
        spec_from_dict({**values, **change})


def test_several_problems_come_at_once(values):
    with pytest.raises(InputError, match=r"top_k .*; .*no anchor levels"):
        spec_from_dict({**values, "top_k": -1, "levels": []})


@pytest.mark.parametrize("field", ["network", "width_mult", "class_names", "levels"])
def test_missing_fields(values, field):
    del values[field]
    with pytest.raises(InputError, match=field):
        spec_from_dict(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "expected an object, got list"),
        ("null", "expected an object, got NoneType"),
        ("1" * 5000, "not JSON"),
    ],
)
def test_texts_that_are_no_spec(text, expected):
    with pytest.raises(InputError, match=expected):
        spec_from_json(text)


def test_a_threshold_of_zero_is_a_threshold(values):
    spec: DetectorSpec = spec_from_dict({**values, "score_threshold": 0.0, "nms_iou": 0})
    assert (spec.score_threshold, spec.nms_iou) == (0.0, 0)
