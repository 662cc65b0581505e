"""The specs of the networks that this project knows, by name.

Facts from the specification of the original detector and, for f19, from its public ancestor
(qfgaohao's PyTorch SSD, MIT); `ssdlite-mb2-person` follows the TF Object Detection API.
"""

import dataclasses
import difflib
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from persondet.errors import InputError
from persondet.spec import AnchorLevel, DetectorSpec

F38 = "mb2-ssd-lite-f38"
F38_PERSON = "mb2-ssd-lite-f38-person"
F19 = "mb2-ssd-lite-f19"
RFB_C64 = "rfb-tiny-mb2-ssd-c64"
RFB_C32 = "rfb-tiny-mb2-ssd-c32"
SSDLITE_PERSON = "ssdlite-mb2-person"

# As the original project and its public ancestor spell them.
_ORIGINAL_NAMES = {
    "mb_ssd_lite_f38": F38,
    "mb_ssd_lite_f38_person": F38_PERSON,
    "mb2-ssd-lite": F19,
    "rfb_tiny_mb2_ssd": RFB_C64,
}

# As one says them.
_SHORT_NAMES = {
    "f38": F38,
    "f38-person": F38_PERSON,
    "f19": F19,
    "rfb-c64": RFB_C64,
    "rfb-c32": RFB_C32,
    "ssdlite-person": SSDLITE_PERSON,
}

_BACKBONE_ACTIVATIONS = {
    F38: "relu",
    F38_PERSON: "relu",
    F19: "relu6",  # relu with the ancestor's onnx_compatible=True
    RFB_C64: "relu",
    RFB_C32: "relu",
    SSDLITE_PERSON: "relu6",
}

# Of the original's predictors and, for f19, of the ancestor's.
_NMS_IOU = {F38: 0.35, F38_PERSON: 0.3, F19: 0.45, RFB_C64: 0.3, RFB_C32: 0.3}

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)


def network_names() -> tuple[str, ...]:
    return tuple(_SPECS)


def full_name(name: str) -> str:
    """The network that a short name (f38) or an original spelling means; others as given."""
    return _SHORT_NAMES.get(name) or _ORIGINAL_NAMES.get(name, name)


def short_name(network: str) -> str:
    """The name that people type, such as f38; the whole name if there is none."""
    return next((short for short, name in _SHORT_NAMES.items() if name == network), network)


def known_network(name: str) -> str:
    """The whole name of a network, given in any spelling.

    Raises InputError, with the nearest names, if there is no such network.
    """
    if (network := full_name(name)) in _SPECS:
        return network
    spellings = [*_SPECS, *_SHORT_NAMES, *_ORIGINAL_NAMES]
    close = difflib.get_close_matches(name, spellings, n=2)
    hint = f"; did you mean {' or '.join(close)}?" if close else ";"
    known = ", ".join(f"{network} ({short_name(network)})" for network in _SPECS)
    raise InputError(f"unknown network {name!r}{hint} known: {known}")


def check_anchor_ratios(ratios: Sequence[float]) -> None:
    """Raise InputError if a ratio is not a positive number."""
    if not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        raise InputError(
            f"anchor ratios (height / width) are positive numbers, got {tuple(ratios)}"
        )


def default_anchor_ratios(network: str) -> tuple[float, ...]:
    """height / width of the anchors where `detector_spec` takes them as a parameter, else ()."""
    return _SPECS[network][1]


def own_backbone_activation(network: str) -> str:
    """relu or relu6: what a network of this name has in its backbone unless a spec says else."""
    return _BACKBONE_ACTIVATIONS[network]


def with_backbone_activation(spec: DetectorSpec, activation: str | None) -> DetectorSpec:
    """The spec with relu or relu6 in the backbone; None for the network's own.

    Raises InputError for a network that was never published with another.
    """
    if activation == _BACKBONE_ACTIVATIONS.get(spec.network):
        activation = None
    if activation and spec.network in (RFB_C64, RFB_C32):
        raise InputError(f"{spec.network} has ReLU throughout; another activation cannot be given")
    return dataclasses.replace(spec, backbone_activation=activation)


def detector_spec(
    network: str,
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    width_mult: float = 1.0,
    anchor_ratios: Sequence[float] | None = None,
    backbone_activation: str | None = None,
) -> DetectorSpec:
    """The spec of a network of the zoo.

    network: a network's name in any spelling (`known_network`).
    class_names: names without the background; or num_classes, the background included, and the
        names are made up. Neither: the network's own default.
    anchor_ratios: height / width of the anchors where the family takes it as a parameter (f38,
        f38-person, rfb-tiny); published checkpoints differ in it, and their files do not say.
    backbone_activation: relu or relu6; None: the network's own.
    Raises InputError for an unknown network or a parameter that it does not have.
    """
    network = known_network(network)
    builder, default_ratios, default_names = _SPECS[network]
    if anchor_ratios and not default_ratios:
        raise InputError(f"{network} has fixed anchor shapes; anchor ratios cannot be given")
    ratios = tuple(anchor_ratios or default_ratios)
    if default_ratios and len(ratios) != len(default_ratios):
        raise InputError(
            f"{network} takes {len(default_ratios)} anchor ratios (height / width), "
            f"got {len(ratios)}"
        )
    check_anchor_ratios(ratios)
    names = _class_names(class_names, num_classes, default_names)
    spec = builder(network, ("background", *names), width_mult, ratios)
    return with_backbone_activation(spec, backbone_activation)


def _class_names(
    class_names: Sequence[str] | None, num_classes: int | None, default: tuple[str, ...]
) -> tuple[str, ...]:
    if class_names:
        if num_classes not in (None, len(class_names) + 1):
            raise InputError(
                f"{len(class_names)} class names given for {num_classes} classes "
                "(the background counts as one and is not named)"
            )
        return tuple(class_names)
    if num_classes in (None, len(default) + 1):
        return default
    assert num_classes is not None
    if num_classes == len(VOC_CLASSES) + 1:
        return VOC_CLASSES
    return tuple(f"class_{index}" for index in range(1, num_classes))


def _square_levels(
    grids: Sequence[int],
    strides: Sequence[float],
    shapes_wh_px: Sequence[Sequence[tuple[float, float]]],
) -> tuple[AnchorLevel, ...]:
    return tuple(
        AnchorLevel((grid, grid), (stride, stride), tuple(shapes))
        for grid, stride, shapes in zip(grids, strides, shapes_wh_px, strict=True)
    )


def _f38(
    network: str, names: tuple[str, ...], width_mult: float, ratios: tuple[float, ...]
) -> DetectorSpec:
    shapes = []
    for low, high in ((16, 32), (32, 64), (64, 128), (128, 256)):
        widths = (low, math.sqrt(low * high))
        shapes.append([(width, width * ratios[0]) for width in widths])
    levels = _square_levels((38, 19, 10, 5), (8, 16, 32, 64), shapes)
    return DetectorSpec(network, width_mult, names, (300, 300), levels, nms_iou=_NMS_IOU[network])


def _f38_person(
    network: str, names: tuple[str, ...], width_mult: float, ratios: tuple[float, ...]
) -> DetectorSpec:
    widths = ((10, 16), (24, 34), (46, 60), (76, 92), (110, 128), (156, 194), (248, 300))
    shapes = [
        [(width, width * ratio) for ratio in ratios for width in level_widths]
        for level_widths in widths
    ]
    levels = _square_levels((38, 19, 10, 5, 3, 2, 1), (8, 16, 30, 60, 100, 150, 300), shapes)
    return DetectorSpec(network, width_mult, names, (300, 300), levels, nms_iou=_NMS_IOU[network])


def _f19(
    network: str, names: tuple[str, ...], width_mult: float, ratios: tuple[float, ...]
) -> DetectorSpec:
    shapes = []
    for low in (60, 105, 150, 195, 240, 285):
        big = math.sqrt(low * (low + 45))
        cell: list[tuple[float, float]] = [(low, low), (big, big)]
        for root in (math.sqrt(2), math.sqrt(3)):
            cell += [(low * root, low / root), (low / root, low * root)]
        shapes.append(cell)
    levels = _square_levels((19, 10, 5, 3, 2, 1), (16, 32, 64, 100, 150, 300), shapes)
    return DetectorSpec(network, width_mult, names, (300, 300), levels, nms_iou=_NMS_IOU[network])


def _rfb_tiny(
    network: str, names: tuple[str, ...], width_mult: float, ratios: tuple[float, ...]
) -> DetectorSpec:
    if width_mult != 1.0:
        raise InputError(f"{network} has no width multiplier; its base width is in its name")
    input_h, input_w = 240, 320
    grids_hw = ((30, 40), (15, 20), (8, 10), (4, 5))
    widths = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))
    levels = tuple(
        AnchorLevel(
            (rows, columns),
            (input_h / rows, input_w / columns),
            tuple((width, width * ratio) for width in level_widths for ratio in ratios),
        )
        for (rows, columns), level_widths in zip(grids_hw, widths, strict=True)
    )
    return DetectorSpec(
        network, width_mult, names, (input_h, input_w), levels, nms_iou=_NMS_IOU[network]
    )


def _ssdlite_person(
    network: str, names: tuple[str, ...], width_mult: float, ratios: tuple[float, ...]
) -> DetectorSpec:
    size = 300
    scales = [0.2 + 0.15 * k for k in range(6)] + [1.0]  # of maps 0..5, and the one after the last
    shapes = [[_wh(0.1, 1.0), _wh(0.2, 2.0), _wh(0.2, 0.5)]]
    for scale, following in pairwise(scales[1:]):
        cell = [_wh(scale, ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 0.3333)]
        shapes.append([*cell, _wh(math.sqrt(scale * following), 1.0)])
    grids = (19, 10, 5, 3, 2, 1)
    shapes_px = [[(size * w, size * h) for w, h in cell] for cell in shapes]
    return DetectorSpec(
        network,
        width_mult,
        names,
        (size, size),
        _square_levels(grids, [size / grid for grid in grids], shapes_px),
        mean_rgb=(127.5, 127.5, 127.5),
        std_rgb=(127.5, 127.5, 127.5),
        clip_anchors=False,
        score_function="sigmoid",
        nms_iou=0.6,
        top_k=100,
    )


def _wh(scale: float, ratio: float) -> tuple[float, float]:
    """Relative width and height of an anchor of the TF Object Detection API."""
    return scale * math.sqrt(ratio), scale / math.sqrt(ratio)


_Builder = Callable[[str, tuple[str, ...], float, tuple[float, ...]], DetectorSpec]
# network: (builder, default height / width ratios, default class names without the background)
_SPECS: dict[str, tuple[_Builder, tuple[float, ...], tuple[str, ...]]] = {
    F38: (_f38, (1.7,), ("head",)),
    F38_PERSON: (_f38_person, tuple(map(math.sqrt, (5.5, 6.7, 7.8))), ("person",)),
    F19: (_f19, (), ("person",)),
    RFB_C64: (_rfb_tiny, (2.21, 2.47, 2.73), ("person",)),
    RFB_C32: (_rfb_tiny, (2.21, 2.47, 2.73), ("person",)),
    SSDLITE_PERSON: (_ssdlite_person, (), ("person",)),
}
