"""The building blocks: convolution, norm, activation; inverted residual; separable head.

Module indices are part of the contract: they are the key names of published checkpoints.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6}


@dataclass(frozen=True)
class ConvStyle:
    """What the convolutions of one part of a network have in common.

    activation: relu or relu6.
    padding: of 3x3 convolutions: "one" on every side, or "tf-same" (see `TfSameConv2d`).
    """

    activation: str
    norm_eps: float = 1e-5
    padding: str = "one"

    def activate(self) -> nn.Module:
        return ACTIVATIONS[self.activation](inplace=True)

    def norm(self, channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, eps=self.norm_eps)


class TfSameConv2d(nn.Conv2d):
    """A 3x3 convolution with TensorFlow's SAME padding for one input size (rows, columns).

    With stride 2 an even axis gets (0, 1) and an odd one (1, 1). The size is fixed here rather than
    read in `forward`, so that an exporter sees constants.
    """

    def __init__(self, in_channels: int, out_channels: int, *, size_hw: tuple[int, int], **options):
        super().__init__(in_channels, out_channels, 3, **options)
        self.pad_lrtb: list[int] = []
        for size, stride in zip(reversed(size_hw), reversed(self.stride), strict=True):
            total = max((halved(size, stride) - 1) * stride + 3 - size, 0)
            self.pad_lrtb += [total // 2, total - total // 2]

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, self.pad_lrtb))


def halved(size: int, stride: int) -> int:
    """Output size of a 3x3 convolution of either padding."""
    return -(-size // stride)


def conv3x3(
    in_channels: int,
    out_channels: int,
    style: ConvStyle,
    *,
    size_hw: tuple[int, int],
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """size_hw: of the input map; only tf-same padding depends on it."""
    if style.padding == "tf-same" and stride != 1:
        return TfSameConv2d(
            in_channels, out_channels, size_hw=size_hw, stride=stride, groups=groups, bias=bias
        )
    return nn.Conv2d(
        in_channels, out_channels, 3, stride=stride, padding=1, groups=groups, bias=bias
    )


def pointwise(in_channels: int, out_channels: int, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, bias=bias)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project (MobileNetV2); all under `conv`, the expansion absent at ratio 1.

    The input is added where stride and width allow it, but not with `project_activation`, which
    belongs to the extra maps of the TF Object Detection API.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style: ConvStyle,
        *,
        stride: int,
        expand_ratio: float,
        size_hw: tuple[int, int],
        project_activation: bool = False,
    ):
        super().__init__()
        hidden = round(in_channels * expand_ratio)
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers += [pointwise(in_channels, hidden), style.norm(hidden), style.activate()]
        depthwise = conv3x3(hidden, hidden, style, size_hw=size_hw, stride=stride, groups=hidden)
        layers += [depthwise, style.norm(hidden), style.activate()]
        layers += [pointwise(hidden, out_channels), style.norm(out_channels)]
        if project_activation:
            layers.append(style.activate())
        self.conv = nn.Sequential(*layers)
        self.adds_input = stride == 1 and in_channels == out_channels and not project_activation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds_input else self.conv(x)

    def expand(self, x: Tensor) -> Tensor:
        """The first half of `forward`: pointwise, norm, activation; for a block that has all."""
        return self.conv[:3](x)

    def reduce(self, x: Tensor) -> Tensor:
        """The second half of `forward`, on what `expand` gave; for a block without addition."""
        assert not self.adds_input
        return self.conv[3:](x)


def separable(
    in_channels: int,
    out_channels: int,
    style: ConvStyle,
    *,
    size_hw: tuple[int, int],
    stride: int = 1,
    depthwise_bias: bool = True,
) -> nn.Sequential:
    """Depthwise 3x3, norm, activation, pointwise with bias: indices 0 to 3."""
    return nn.Sequential(
        conv3x3(
            in_channels,
            in_channels,
            style,
            size_hw=size_hw,
            stride=stride,
            groups=in_channels,
            bias=depthwise_bias,
        ),
        style.norm(in_channels),
        style.activate(),
        pointwise(in_channels, out_channels, bias=True),
    )
