"""What a bare state_dict is, from its keys and shapes.

Nothing is trusted here: a shape may be any, and what does not fit comes out when the network is
filled.
"""

import math
from collections.abc import Mapping

from torch import Tensor

from persondet import zoo
from persondet.networks.rfb import BASE_WIDTHS


def network_of(weights: Mapping[str, Tensor]) -> str | None:
    """The zoo's name, from the backbone's kind and the number of levels; None where unknown."""
    stem = weights.get("base_net.0.0.weight")
    if stem is None or stem.dim() == 0:
        return None
    if "base_net.7.branch0.0.conv.weight" in weights:
        widths = {width: network for network, width in BASE_WIDTHS.items()}
        return widths.get(stem.shape[0])
    levels = {key.split(".")[1] for key in weights if key.startswith("classification_headers.")}
    if len(levels) == 6:
        # a depthwise convolution without a bias is the TF Object Detection API's
        published = "classification_headers.0.0.bias" in weights
        return zoo.F19 if published else zoo.SSDLITE_PERSON
    return {4: zoo.F38, 7: zoo.F38_PERSON}.get(len(levels))


def num_classes_of(weights: Mapping[str, Tensor]) -> int | None:
    """Classes with the background, from the first level's two heads; None where they are odd."""
    classes = weights.get("classification_headers.0.3.weight")
    offsets = weights.get("regression_headers.0.3.weight")
    if classes is None or offsets is None or classes.dim() == 0 or offsets.dim() == 0:
        return None
    number, rest = divmod(classes.shape[0] * 4, max(offsets.shape[0], 1))
    return number if rest == 0 and number >= 2 else None


def width_mult_of(weights: Mapping[str, Tensor]) -> float:
    """The shortest decimal w with int(c * w) output channels in the layers of width c."""
    layers = {"base_net.0.0": 32, "base_net.7.conv.6": 64, "base_net.14.conv.6": 160}
    layers["base_net.17.conv.6"] = 320
    found = [
        (channels, weights[f"{layer}.weight"].shape[0])
        for layer, channels in layers.items()
        if weights.get(f"{layer}.weight") is not None and weights[f"{layer}.weight"].dim()
    ]
    low = max((width / channels for channels, width in found), default=1.0)
    for digits in range(1, 7):
        candidate = math.ceil(low * 10**digits - 1e-9) / 10**digits
        if candidate > 0 and all(int(c * candidate) == width for c, width in found):
            return candidate
    return 1.0  # no multiplier gives these shapes: the comparison of shapes will say so
