"""Specs by name."""

import pytest
import torch

from persondet import zoo
from persondet.checkpoint import load_checkpoint
from persondet.errors import InputError
from persondet.models import resolve_model
from persondet.networks import build_network
from persondet.zoo import VOC_CLASSES, default_anchor_ratios, detector_spec, network_names


def test_the_names():
    assert network_names() == (
        *("mb2-ssd-lite-f38", "mb2-ssd-lite-f38-person", "mb2-ssd-lite-f19"),
        *("rfb-tiny-mb2-ssd-c64", "rfb-tiny-mb2-ssd-c32", "ssdlite-mb2-person"),
    )


@pytest.mark.parametrize("name", network_names())
def test_defaults(name):
    spec = detector_spec(name)
    assert spec.network == name
    assert spec.num_classes == 2
    assert spec.class_names == ("background", "head" if name == zoo.F38 else "person")
    assert spec.input_size_hw == ((240, 320) if name.startswith("rfb") else (300, 300))
    assert spec.variances == (0.1, 0.2)
    if name != zoo.SSDLITE_PERSON:
        assert (spec.mean_rgb, spec.std_rgb) == ((127.0,) * 3, (128.0,) * 3)


def test_nms_thresholds_are_those_of_the_original_and_its_ancestor():
    found = {name: detector_spec(name).nms_iou for name in network_names()}
    assert found == {
        zoo.F38: 0.35,
        zoo.F38_PERSON: 0.3,
        zoo.F19: 0.45,
        zoo.RFB_C64: 0.3,
        zoo.RFB_C32: 0.3,
        zoo.SSDLITE_PERSON: 0.6,
    }


@pytest.mark.parametrize("name", network_names())
def test_the_backbones_own_activation_is_what_is_built(name):
    kinds = {"relu": torch.nn.ReLU, "relu6": torch.nn.ReLU6}
    with torch.device("meta"):
        backbone = build_network(detector_spec(name)).base_net
    found = {type(m) for m in backbone.modules() if isinstance(m, tuple(kinds.values()))}
    assert found == {kinds[zoo.own_backbone_activation(name)]}


@pytest.mark.parametrize("name", ["head", "person"])
def test_the_shipped_weights_keep_the_threshold_that_they_were_measured_with(name):
    assert load_checkpoint(resolve_model(name)).spec.nms_iou == 0.45


def test_classes():
    assert detector_spec(zoo.F38, class_names=["a", "b"]).class_names == ("background", "a", "b")
    assert detector_spec(zoo.F38, num_classes=3).class_names == (
        *("background", "class_1", "class_2"),
    )
    assert detector_spec(zoo.F19, num_classes=21).class_names == ("background", *VOC_CLASSES)
    assert len(VOC_CLASSES) == 20
    assert detector_spec(zoo.F38, class_names=["a"], num_classes=2).num_classes == 2
    with pytest.raises(InputError, match="2 class names given for 2 classes"):
        detector_spec(zoo.F38, class_names=["a", "b"], num_classes=2)
    with pytest.raises(InputError, match="expected the background and at least one more"):
        detector_spec(zoo.F38, num_classes=1)


def test_anchor_ratios():
    assert default_anchor_ratios(zoo.F38) == (1.7,)
    assert default_anchor_ratios(zoo.F19) == ()
    earlier = detector_spec(zoo.RFB_C64, anchor_ratios=[1.7, 1.9, 2.1])
    assert earlier.levels[0].shapes_wh_px[:2] == ((10, 17.0), (10, 19.0))
    with pytest.raises(InputError, match=r"takes 1 anchor ratios .* got 2"):
        detector_spec(zoo.F38, anchor_ratios=[1, 2])
    with pytest.raises(InputError, match="fixed anchor shapes"):
        detector_spec(zoo.SSDLITE_PERSON, anchor_ratios=[1])
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="are positive numbers"):
            detector_spec(zoo.F38, anchor_ratios=[bad])


def test_what_a_network_does_not_have():
    with pytest.raises(InputError, match=r"unknown network 'f83'; did you mean f38.* known: mb2"):
        detector_spec("f83")
    with pytest.raises(InputError, match="has no width multiplier"):
        detector_spec(zoo.RFB_C32, width_mult=0.5)
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match=r"width_mult .* expected a positive number"):
            detector_spec(zoo.F38, width_mult=bad)


def test_the_original_spellings_are_understood():
    assert zoo.detector_spec("mb_ssd_lite_f38") == zoo.detector_spec(zoo.F38)
    assert zoo.detector_spec("mb2-ssd-lite").network == zoo.F19
    for network in zoo.network_names():
        assert zoo.detector_spec(zoo.short_name(network)).network == network
