"""SSD detectors on a MobileNetV2 backbone: f38, f38-person, f19 and ssdlite-mb2-person."""

import dataclasses
from dataclasses import dataclass

from torch import nn

from persondet import zoo
from persondet.errors import InputError
from persondet.networks.layers import (
    ConvStyle,
    InvertedResidual,
    conv3x3,
    halved,
    pointwise,
    separable,
)
from persondet.networks.ssd import SSD, Tap, check_levels
from persondet.spec import AnchorLevel, DetectorSpec

# expansion, output channels, blocks, stride of the first block (MobileNetV2, table 2)
_SETTINGS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@dataclass(frozen=True)
class _Family:
    """How one of the networks differs from the others.

    backbone .. regression: styles; a wrong activation gives slightly wrong boxes and no error.
    extras: (output channels, expansion ratio) of the stride-2 blocks after the backbone.
    plain_last_head: the last level's heads are single 1x1 convolutions.
    """

    backbone: ConvStyle
    extra: ConvStyle
    classification: ConvStyle
    regression: ConvStyle
    taps: tuple[Tap, ...]
    extras: tuple[tuple[int, float], ...]
    plain_last_head: bool = False
    depthwise_head_bias: bool = True
    extras_end_active: bool = False


_RELU, _RELU6 = ConvStyle("relu"), ConvStyle("relu6")
_TF = ConvStyle("relu6", norm_eps=1e-3, padding="tf-same")
_MAP_38, _MAP_19, _MAP_10 = Tap(7, 8, inside=True), Tap(14, 16, inside=True), Tap(18, 32)
_FOUR_EXTRAS = ((512, 0.2), (256, 0.25), (256, 0.5), (64, 0.25))

# The activations, a trap: backbone, extras, classification heads, regression heads.
_FAMILIES = {
    zoo.F38: _Family(_RELU, _RELU6, _RELU, _RELU, (_MAP_38, _MAP_19, _MAP_10), ((512, 0.2),)),
    zoo.F38_PERSON: _Family(
        *(_RELU, _RELU6, _RELU6, _RELU),
        (_MAP_38, _MAP_19, _MAP_10),
        _FOUR_EXTRAS,
        plain_last_head=True,
    ),
    zoo.F19: _Family(
        *(_RELU6, _RELU6, _RELU6, _RELU6),
        (_MAP_19, _MAP_10),
        _FOUR_EXTRAS,
        plain_last_head=True,
    ),
    zoo.SSDLITE_PERSON: _Family(
        *(_TF, _TF, _TF, _TF),
        (_MAP_19, _MAP_10),
        (*_FOUR_EXTRAS[:3], (128, 0.25)),
        depthwise_head_bias=False,
        extras_end_active=True,
    ),
}
NETWORKS = tuple(_FAMILIES)


def mobilenet_v2_ssd(spec: DetectorSpec) -> SSD:
    family = _FAMILIES[spec.network]
    check_levels(spec, len(family.taps) + len(family.extras), family.taps[0].stride)
    if int(16 * spec.width_mult) < 1:
        raise InputError(f"width multiplier {spec.width_mult:g} leaves layers without channels")
    activation = spec.backbone_activation or family.backbone.activation
    style = dataclasses.replace(family.backbone, activation=activation)
    base_net = _backbone(style, spec.width_mult, spec.input_size_hw)
    channels = [_tap_channels(base_net, tap) for tap in family.taps]
    extras = nn.ModuleList()
    for index, (out_channels, ratio) in enumerate(family.extras):
        block = InvertedResidual(
            channels[-1],
            out_channels,
            family.extra,
            stride=2,
            expand_ratio=ratio,
            size_hw=spec.levels[len(family.taps) + index - 1].grid_hw,
            project_activation=family.extras_end_active,
        )
        extras.append(block)
        channels.append(out_channels)
    return SSD(
        base_net,
        family.taps,
        extras,
        _heads(family, family.classification, channels, spec.levels, spec.num_classes),
        _heads(family, family.regression, channels, spec.levels, 4),
        spec,
    )


def _backbone(style: ConvStyle, width_mult: float, size_hw: tuple[int, int]) -> nn.Sequential:
    channels = int(32 * width_mult)
    stem = conv3x3(3, channels, style, size_hw=size_hw, stride=2)
    layers: list[nn.Module] = [nn.Sequential(stem, style.norm(channels), style.activate())]
    size_hw = (halved(size_hw[0], 2), halved(size_hw[1], 2))
    for ratio, base_channels, blocks, first_stride in _SETTINGS:
        out_channels = int(base_channels * width_mult)
        for stride in (first_stride, *[1] * (blocks - 1)):
            block = InvertedResidual(
                channels, out_channels, style, stride=stride, expand_ratio=ratio, size_hw=size_hw
            )
            layers.append(block)
            channels = out_channels
            size_hw = (halved(size_hw[0], stride), halved(size_hw[1], stride))
    last = int(1280 * width_mult) if width_mult > 1 else 1280
    layers.append(nn.Sequential(pointwise(channels, last), style.norm(last), style.activate()))
    return nn.Sequential(*layers)


def _tap_channels(base_net: nn.Sequential, tap: Tap) -> int:
    layer = base_net[tap.index]
    convs = [module for module in layer.modules() if isinstance(module, nn.Conv2d)]
    return convs[0].out_channels if tap.inside else convs[-1].out_channels


def _heads(
    family: _Family,
    style: ConvStyle,
    channels: list[int],
    levels: tuple[AnchorLevel, ...],
    numbers_an_anchor: int,
) -> nn.ModuleList:
    heads = nn.ModuleList()
    for in_channels, level in zip(channels, levels, strict=True):
        out_channels = len(level.shapes_wh_px) * numbers_an_anchor
        if family.plain_last_head and level is levels[-1]:
            heads.append(pointwise(in_channels, out_channels, bias=True))
        else:
            head = separable(
                in_channels,
                out_channels,
                style,
                size_hw=level.grid_hw,
                depthwise_bias=family.depthwise_head_bias,
            )
            heads.append(head)
    return heads
