"""rfb-tiny: a tiny depthwise backbone with one receptive field block (RFB)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from persondet import zoo
from persondet.networks.layers import ConvStyle, conv3x3, pointwise, separable
from persondet.networks.ssd import SSD, Tap, check_levels
from persondet.spec import AnchorLevel, DetectorSpec

BASE_WIDTHS = {zoo.RFB_C64: 64, zoo.RFB_C32: 32}
NETWORKS = tuple(BASE_WIDTHS)

_STYLE = ConvStyle("relu")  # throughout
_TAPS = (Tap(7, 8), Tap(10, 16), Tap(12, 32))
# (index in base_net, output channels in base widths, stride) of the depthwise blocks
_DEPTHWISE_BLOCKS = (
    *((1, 2, 1), (2, 2, 2), (3, 2, 1), (4, 4, 2), (5, 4, 1), (6, 4, 1)),
    *((8, 8, 2), (9, 8, 1), (10, 8, 1), (11, 16, 2), (12, 16, 1)),
)
_RFB_INDEX = 7


class _ConvNorm(nn.Module):
    """Children `conv` and `bn`, as published; the activation only where asked for."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, dilation: int = 1, *, active: bool
    ):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            bias=False,
        )
        self.bn = _STYLE.norm(out_channels)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return torch.relu(x) if self.active else x


class ReceptiveFieldBlock(nn.Module):
    """Three branches of growing dilation, merged, plus a shortcut (RFBNet, width reduced by 8)."""

    def __init__(self, channels: int):
        super().__init__()
        n = channels // 8
        self.branch0 = self._branch(channels, (n, 2 * n), dilation=2)
        self.branch1 = self._branch(channels, (n, 2 * n), dilation=3)
        self.branch2 = self._branch(channels, (n, n // 2 * 3, 2 * n), dilation=5)
        self.ConvLinear = _ConvNorm(6 * n, channels, 1, active=False)
        self.shortcut = _ConvNorm(channels, channels, 1, active=False)

    @staticmethod
    def _branch(channels: int, widths: tuple[int, ...], *, dilation: int) -> nn.Sequential:
        layers = [_ConvNorm(channels, widths[0], 1, active=False)]
        for narrow, wide in pairwise(widths):
            layers.append(_ConvNorm(narrow, wide, 3, active=True))
        layers.append(_ConvNorm(widths[-1], widths[-1], 3, dilation, active=False))
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        merged = torch.cat([self.branch0(x), self.branch1(x), self.branch2(x)], dim=1)
        return torch.relu(self.ConvLinear(merged) + self.shortcut(x))


def rfb_tiny_ssd(spec: DetectorSpec) -> SSD:
    width = BASE_WIDTHS[spec.network]
    zoo.with_backbone_activation(spec, spec.backbone_activation)  # raises: it has one only
    check_levels(spec, len(_TAPS) + 1, _TAPS[0].stride)
    channels = [4 * width, 8 * width, 16 * width, 16 * width]
    return SSD(
        _backbone(width, spec.input_size_hw),
        _TAPS,
        nn.ModuleList([_extra(width, spec.levels[2])]),
        _heads(channels, spec.levels, spec.num_classes),
        _heads(channels, spec.levels, 4),
        spec,
    )


def _backbone(width: int, size_hw: tuple[int, int]) -> nn.Sequential:
    stem = conv3x3(3, width, _STYLE, size_hw=size_hw, stride=2)
    layers: list[nn.Module] = [nn.Sequential(stem, _STYLE.norm(width), _STYLE.activate())]
    channels = width
    for index, multiple, stride in _DEPTHWISE_BLOCKS:
        if index == _RFB_INDEX + 1:
            layers.append(ReceptiveFieldBlock(channels))
        layers.append(_depthwise_block(channels, multiple * width, stride))
        channels = multiple * width
    return nn.Sequential(*layers)


def _depthwise_block(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False),
        _STYLE.norm(in_channels),
        _STYLE.activate(),
        pointwise(in_channels, out_channels),
        _STYLE.norm(out_channels),
        _STYLE.activate(),
    )


def _extra(width: int, before: AnchorLevel) -> nn.Sequential:
    return nn.Sequential(
        pointwise(16 * width, 4 * width, bias=True),
        _STYLE.activate(),
        separable(4 * width, 16 * width, _STYLE, size_hw=before.grid_hw, stride=2),
        _STYLE.activate(),
    )


def _heads(
    channels: list[int], levels: tuple[AnchorLevel, ...], numbers_an_anchor: int
) -> nn.ModuleList:
    heads = nn.ModuleList()
    for in_channels, level in zip(channels, levels, strict=True):
        out_channels = len(level.shapes_wh_px) * numbers_an_anchor
        if level is levels[-1]:
            heads.append(
                conv3x3(in_channels, out_channels, _STYLE, size_hw=level.grid_hw, bias=True)
            )
        else:
            heads.append(separable(in_channels, out_channels, _STYLE, size_hw=level.grid_hw))
    return heads
